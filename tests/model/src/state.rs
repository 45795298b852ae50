//! The model's state, small enough that millions of states fit into memory.

use turntable_core::{decision::Trigger, layout::Generation, record::FlipOrigin};
use ulid::Ulid;

use crate::Budget;

/// A generation's number; generations are numbered in the order they were started.
pub type Gen = u8;
/// Minutes since the model started. Each [`crate::Action::Tick`] is an hour.
pub type Minute = u16;
/// A set of generations, of flip records, of files or of drops.
pub type Set = u16;

pub fn has(set: Set, member: usize) -> bool {
    set >> member & 1 == 1
}

/// The state of the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// Counts ticks and snapshots, so that each has its own time.
    pub now: Minute,
    pub version: u8,
    pub live: Live,
    pub generations: Vec<Slot>,
    /// The flip records, in the order they were written.
    pub flips: Vec<Record>,
    pub hold: bool,
    /// The drops that applications have put into the inbox.
    pub inbox: Set,
    /// The running invocations, always sorted: runs are interchangeable, and this symmetry keeps the model small.
    pub running: Vec<Run>,
    pub reader: Option<Reader>,
    pub left: Budget,
    pub truth: Truth,
    /// The last step's effect, if a property needs it.
    pub just: Option<Just>,
    pub broken: Option<Broken>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Live {
    NoTable,
    Unmanaged,
    Managed(Gen),
}

/// One generation in the lake: which of its objects exist, and what they record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    pub name: Generation,
    pub base: Live,
    pub as_of: Minute,
    pub created: Minute,
    /// The data files that exist.
    pub files: Set,
    pub manifest: bool,
    /// When a sweep marked the generation.
    pub mark: Option<Minute>,
    /// Whether its rows are bad, so that an audit of its content rejects it.
    pub bad: bool,
    pub merge: Option<Merge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Merge {
    pub consumed: Vec<(Gen, Set)>,
    /// For each person, the drop with the effective consent record.
    pub words: [Option<u8>; crate::drops::PEOPLE],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    pub ulid: Ulid,
    pub at: Minute,
    pub from: Live,
    pub to: Gen,
    pub by: Mark,
}

/// The part of [`FlipOrigin`] that the model has.
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

/// A query: the generation that it found at the table's Location, and when it started to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reader {
    pub generation: Gen,
    pub since: Minute,
}

/// The true history, which no part of the system can know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Truth {
    /// Generations that have ever been live.
    pub was_live: Set,
    /// When each generation was last replaced.
    pub replaced: Vec<(Gen, Minute)>,
    /// Whether a hold has returned and hasn't been released.
    pub held: bool,
    /// The time of a rollback that has returned, if its generation is still live.
    pub rolled_back: Option<Minute>,
    /// Whether the table has drifted: somebody outside Turntable has moved it.
    pub foreign: bool,
}

/// One invocation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Run {
    Export { generation: Gen, at: ExportAt },
    Flip(Flip),
    Fence { seen: Option<u8>, then: MessageOutcome },
    Merge { listed: Option<Set>, seen: Option<(Option<u8>, Live)>, at: MergeAt },
    Sweep(Sweep),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExportAt {
    Snapshot,
    /// The next file to write.
    Data(u8),
    Manifest,
}

/// What a fence is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageOutcome {
    Hold,
    /// A rollback to a generation, with the minute of its commit.
    Rollback(Gen, Minute),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MergeAt {
    /// Reads the table and lists the inbox, in either order.
    Look,
    /// Reads the hold and the drops.
    Read,
    /// Reads the flips, and writes the files of a generation.
    Data(Gen),
    /// Flips, with the flip records that were read.
    Manifest(Gen, Set),
}

/// A flip, a rollback, or the flip at the end of a merge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flip {
    pub ask: RefreshOptions,
    /// The candidate. A rollback without a named generation knows it only after it has loaded the state.
    pub to: Option<Gen>,
    pub version: Option<u8>,
    pub live: Live,
    /// The flip records that were read.
    pub flips: Set,
    pub recovered: Option<Ulid>,
    /// The ULID of its own record.
    pub ulid: Option<Ulid>,
    pub at: FlipAt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefreshOptions {
    Event,
    Operator,
    /// A rollback to a named generation, or to the previous one.
    Rollback(Option<Gen>),
    /// A merge that has listed these drops.
    Merge(Set),
}

impl RefreshOptions {
    pub fn who(self) -> Trigger {
        if self == RefreshOptions::Operator { Trigger::Operator } else { Trigger::Event }
    }

    pub fn mark(self) -> Mark {
        match self {
            RefreshOptions::Event | RefreshOptions::Merge(_) => Mark::Event,
            RefreshOptions::Operator => Mark::Operator,
            RefreshOptions::Rollback(_) => Mark::Rollback,
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
    /// Writes the live generation's missing record, then updates or ends.
    Recover {
        flip: bool,
    },
    Update,
    /// Reads the table after an update without a clear answer. The field says whether the answer was an error.
    SettleTable {
        error: bool,
    },
    SettleRest {
        error: bool,
    },
    /// Writes its own record: what was replaced, and the true time.
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
    /// Reads the manifests, marks and flips for the listed files and manifests, and plans.
    Plan {
        files: Vec<Set>,
        manifests: Set,
    },
    /// Writes the marks of the generations to delete.
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
    /// Deletes the next file of each generation.
    Data {
        go: Set,
        file: u8,
    },
    Unmark {
        go: Set,
    },
}

/// A step's effect that a property checks.
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

/// A broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Broken {
    FresherWins,
    CameBack,
    RollbackUndone,
    HeldFlip,
    OptOutLost,
    SweptKept,
}
