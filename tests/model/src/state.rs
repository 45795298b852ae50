//! All that there is at one moment, small enough for millions of moments.

use turntable::{name::Generation, plan::Who, record::By};
use ulid::Ulid;

use crate::Budget;

/// A generation, by the order in which they were begun.
pub type Gen = u8;
/// Minutes since the model's time began. An hour is one [`crate::Action::Tick`].
pub type Minute = u16;
/// A set of generations, of flip records, of files or of drops.
pub type Set = u16;

pub fn has(set: Set, member: usize) -> bool {
    set >> member & 1 == 1
}

/// The whole world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// Ticks, and snapshots that were taken: each has a time of its own.
    pub now: Minute,
    pub version: u8,
    pub live: Live,
    pub generations: Vec<Slot>,
    /// In the order in which they were written.
    pub flips: Vec<Record>,
    pub hold: bool,
    /// The drops that the applications have put there.
    pub inbox: Set,
    /// Always sorted: who is who makes no difference, which is the symmetry that keeps the model small.
    pub running: Vec<Run>,
    pub reader: Option<Reader>,
    pub left: Budget,
    pub truth: Truth,
    /// What the last step did, if it is worth telling.
    pub just: Option<Just>,
    pub broken: Option<Broken>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Live {
    NoTable,
    Foreign,
    Ours(Gen),
}

/// What there is of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    pub name: Generation,
    pub base: Live,
    pub as_of: Minute,
    pub created: Minute,
    /// The data files that are there.
    pub files: Set,
    pub manifest: bool,
    /// When a sweep has marked it.
    pub mark: Option<Minute>,
    /// Its rows are not as they should be: an audit of its content rejects it.
    pub bad: bool,
    pub merge: Option<Merge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Merge {
    pub consumed: Vec<(Gen, Set)>,
    /// For each person the drop whose word counts.
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

/// [`By`], as far as the model has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mark {
    Event,
    Operator,
    Rollback,
    Recovered,
}

impl Mark {
    pub fn by(self) -> By {
        match self {
            Mark::Event => By::Event,
            Mark::Operator => By::Operator,
            Mark::Rollback => By::Rollback,
            Mark::Recovered => By::Recovered,
        }
    }
}

/// A query: what it found at the table's Location, and since when it reads that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reader {
    pub generation: Gen,
    pub since: Minute,
}

/// What nobody in the system can know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Truth {
    /// Generations that have ever been live.
    pub was_live: Set,
    /// When each went from live for the last time.
    pub replaced: Vec<(Gen, Minute)>,
    /// A hold has returned and was not released.
    pub held: bool,
    /// A rollback has returned, and what it made live still is: when it took place.
    pub rolled_back: Option<Minute>,
    /// Somebody else has moved the table.
    pub foreign: bool,
}

/// One invocation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Run {
    Export { generation: Gen, at: ExportAt },
    Flip(Flip),
    Fence { seen: Option<u8>, then: Then },
    Merge { listed: Option<Set>, seen: Option<(Option<u8>, Live)>, at: MergeAt },
    Sweep(Sweep),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ExportAt {
    Snapshot,
    /// The next file.
    Data(u8),
    Manifest,
}

/// What a fence is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Then {
    Hold,
    /// The rollback to a generation that took place at a minute.
    Rollback(Gen, Minute),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MergeAt {
    /// Reads the table and lists the inbox, whichever comes first.
    Look,
    /// Reads the hold and the drops.
    Read,
    /// Reads the flips, and writes the files of a generation.
    Data(Gen),
    /// With the flips that were read.
    Manifest(Gen, Set),
}

/// A flip, a rollback, or the flip at a merge's end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flip {
    pub ask: Ask,
    /// The candidate; of a rollback without a name it is known after the look.
    pub to: Option<Gen>,
    pub version: Option<u8>,
    pub live: Live,
    /// The flip records that were read.
    pub flips: Set,
    pub recovered: Option<Ulid>,
    /// Its own record's.
    pub ulid: Option<Ulid>,
    pub at: FlipAt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ask {
    Event,
    Operator,
    /// To a named generation, or to the one before.
    Rollback(Option<Gen>),
    /// A merge that has listed these drops.
    Merge(Set),
}

impl Ask {
    pub fn who(self) -> Who {
        if self == Ask::Operator { Who::Operator } else { Who::Event }
    }

    pub fn mark(self) -> Mark {
        match self {
            Ask::Event | Ask::Merge(_) => Mark::Event,
            Ask::Operator => Mark::Operator,
            Ask::Rollback(_) => Mark::Rollback,
        }
    }
}

/// The next thing that a flip does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlipAt {
    /// Reads the table.
    Table,
    /// Reads all else, and decides.
    Rest,
    /// Asks whether a sweep has marked the candidate.
    Marked,
    Audit,
    /// Puts live on record; then the update, or nothing more.
    Recover {
        flip: bool,
    },
    Update,
    /// Reads the table after an update without a clear answer; whether it was an error.
    SettleTable {
        error: bool,
    },
    SettleRest {
        error: bool,
    },
    /// Puts itself on record: what was replaced, and when in truth.
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
    /// Reads manifests, marks and flips of what was listed (the files, and the manifests), and plans.
    Plan {
        files: Vec<Set>,
        manifests: Set,
    },
    /// Writes the marks of what goes.
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
    /// The next file of each.
    Data {
        go: Set,
        file: u8,
    },
    Unmark {
        go: Set,
    },
}

/// What is worth telling of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Just {
    Swapped,
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
    UnflipNoticed,
    MergedAgain,
    MergeDone,
    SweepDeleted,
    SweepFenced,
    SweepRefused,
    Draining,
    Crashed,
}

/// A promise that was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Broken {
    FresherWins,
    CameBack,
    RollbackUndone,
    HeldFlip,
    OptOutLost,
    SweptKept,
}
