//! The model's state, small enough that millions of states fit into memory.

use turntable_core::{decision::Trigger, layout::Generation, record::FlipOrigin};
use ulid::Ulid;

use crate::Budget;

/// A generation's number; generations are numbered in the order they were started.
pub type Gen = u8;
/// Minutes since the model started. Each [`crate::Action::Tick`] is an hour.
pub type Minute = u16;
/// A set of generations, flip records, files or drops, with one bit for each number.
pub type Set = u16;

pub fn has(set: Set, member: usize) -> bool {
    set >> member & 1 == 1
}

/// The state of the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The current time. Every tick and every snapshot advances it, so that no two happen at the same time.
    pub now: Minute,
    pub version: u8,
    pub live: Live,
    pub generations: Vec<Slot>,
    /// The flip records, in the order they were written.
    pub flips: Vec<Record>,
    pub hold: bool,
    /// The drops that applications have put into the inbox.
    pub inbox: Set,
    /// The running invocations. They are always sorted, because states that differ only in the order of runs are the
    /// same.
    pub running: Vec<Run>,
    pub reader: Option<Reader>,
    /// How often each action may still happen.
    pub left: Budget,
    pub truth: Truth,
    /// The effect of the last step, if there is a [`Just`] for it.
    pub just: Option<Just>,
    /// The first promise that was broken; nothing happens after that.
    pub broken: Option<Broken>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Live {
    NoTable,
    Unmanaged,
    Managed(Gen),
}

/// A generation: what its manifest contains or will contain, and which of its objects exist.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    pub name: Generation,
    /// What was live when the build started.
    pub base: Live,
    pub as_of: Minute,
    pub created: Minute,
    /// The data files that exist.
    pub files: Set,
    pub manifest: bool,
    /// When a sweep marked the generation; `None` if none has.
    pub mark: Option<Minute>,
    /// Whether the generation's rows fail the audit.
    pub bad: bool,
    pub merge: Option<Merge>,
}

/// What only a generation of opt-outs has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Merge {
    /// The consumed drops, by the generation that consumed them first.
    pub consumed: Vec<(Gen, Set)>,
    /// For each person, the drop with the effective consent record.
    pub words: [Option<u8>; crate::drops::PEOPLE],
}

/// A flip record, named by its ULID.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    pub ulid: Ulid,
    pub at: Minute,
    pub from: Live,
    pub to: Gen,
    pub by: Mark,
}

/// The values of [`FlipOrigin`] that occur in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark {
    Event,
    Operator,
    Rollback,
    Recovered,
}

impl Mark {
    pub fn by(self) -> FlipOrigin {
        match self {
            Mark::Event => FlipOrigin::Event,
            Mark::Operator => FlipOrigin::Operator,
            Mark::Rollback => FlipOrigin::Rollback,
            Mark::Recovered => FlipOrigin::Recovered,
        }
    }
}

/// A query: the generation that it reads, and when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reader {
    pub generation: Gen,
    pub since: Minute,
}

/// The true history, which no part of the system can know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Truth {
    /// The generations that have ever been live.
    pub was_live: Set,
    /// The generations that have been replaced and have not been live again since, each with the time when it was
    /// replaced.
    pub replaced: Vec<(Gen, Minute)>,
    /// Whether a hold has returned and hasn't been released.
    pub held: bool,
    /// The time of the last completed rollback, if the generation that it made live is still live.
    pub rolled_back: Option<Minute>,
    /// Whether the table has drifted: somebody outside Turntable has moved it.
    pub foreign: bool,
}

/// A running invocation, with its next step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Run {
    Export { generation: Gen, at: ExportAt },
    Flip(Flip),
    Fence { seen: Option<u8>, then: Fenced },
    Merge { listed: Option<Set>, seen: Option<(Option<u8>, Live)>, at: MergeAt },
    Sweep(Sweep),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExportAt {
    Snapshot,
    /// Writes the file with this number.
    Data(u8),
    Manifest,
}

/// The operator's request that returns when its fence is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fenced {
    Hold,
    /// A rollback to a generation, and the minute of its commit.
    Rollback(Gen, Minute),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MergeAt {
    /// Reads the table and lists the inbox, in either order.
    Look,
    /// Reads the hold and the drops.
    Read,
    /// Reads the flip records, and writes the files of the generation.
    Data(Gen),
    /// Writes the manifest, and decides on the flip with the flip records that were read.
    Manifest(Gen, Set),
}

/// A flip, a rollback, or the flip at the end of a merge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flip {
    pub ask: Cause,
    /// The candidate. A rollback has none until it has decided.
    pub to: Option<Gen>,
    pub version: Option<u8>,
    pub live: Live,
    /// The flip records that were read.
    pub flips: Set,
    /// The ULID of the missing record that this flip has written, if there was one.
    pub recovered: Option<Ulid>,
    /// The ULID of the record for this flip, once it is chosen.
    pub ulid: Option<Ulid>,
    pub at: FlipAt,
}

/// What triggered a flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    Event,
    Operator,
    /// A rollback to a named generation, or to the previous one.
    Rollback(Option<Gen>),
    /// A merge that has listed these drops.
    Merge(Set),
}

impl Cause {
    pub fn who(self) -> Trigger {
        if self == Cause::Operator { Trigger::Operator } else { Trigger::Event }
    }

    pub fn mark(self) -> Mark {
        match self {
            Cause::Event | Cause::Merge(_) => Mark::Event,
            Cause::Operator => Mark::Operator,
            Cause::Rollback(_) => Mark::Rollback,
        }
    }
}

/// The next step of a flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlipAt {
    /// Reads the table.
    Table,
    /// Reads everything else, and decides.
    Rest,
    /// Checks whether a sweep has marked the candidate.
    Marked,
    Audit,
    /// Writes the live generation's missing record. Then updates the table if `flip` is set, or ends.
    Recover {
        flip: bool,
    },
    Update,
    /// Reads the table again after an update that got no reply (`error`), or a conflict that may be an echo.
    SettleTable {
        error: bool,
    },
    /// Reads the flip records, and decides what became of the update.
    SettleRest {
        error: bool,
    },
    /// Writes the record for this flip: what it replaced, and when.
    Record(Live, Minute),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sweep {
    pub now: Minute,
    pub version: u8,
    pub live: Live,
    pub at: SweepAt,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SweepAt {
    Table,
    List,
    /// Reads the listed manifests, the marks and the flip records, and plans the deletions.
    Plan {
        files: Vec<Set>,
        manifests: Set,
    },
    /// Marks the generations in `go`, and unmarks those in `spared`.
    Mark {
        go: Set,
        spared: Set,
    },
    Fence {
        go: Set,
    },
    Manifests {
        go: Set,
    },
    /// Deletes the file with this number from each generation in `go`.
    Data {
        go: Set,
        file: u8,
    },
    Unmark {
        go: Set,
    },
}

/// The effect of a step, for the properties to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Just {
    Committed,
    LostReplyCommitted,
    EchoCommitted,
    Conflict,
    Twin,
    Stale,
    CameBackRefused,
    Held,
    Rejected,
    Swept,
    Recovered,
    RolledBack,
    DriftNoticed,
    MergedAgain,
    MergeDone,
    SweepDeleted,
    SweepFenced,
    SweepRefused,
    Draining,
    Crashed,
}

/// A promise that a step has broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Broken {
    FresherWins,
    CameBack,
    RollbackUndone,
    HeldFlip,
    OptOutLost,
    SweptKept,
}
