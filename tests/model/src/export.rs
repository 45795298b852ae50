//! An export, step by step, as `functions/export` does it.

use turntable_core::decision;

use crate::{
    Mutant, Turntable, real,
    state::{ExportAt, Gen, Run, Slot, State},
};

impl Turntable {
    /// Starts an export: reads what is live, and names the new generation.
    pub fn export(&self, state: &mut State, bad: bool) -> Run {
        let random = state.generations.len() as u128;
        let name = decision::next(&self.paths, &self.live(state, state.live), real::ulid(state, random));
        state.generations.push(Slot { bad, ..Slot::head(name, state.live) });
        Run::Export { generation: state.generations.len() as Gen - 1, at: ExportAt::Snapshot }
    }

    /// Performs the next step of an export. Returns what is left to run, or `None` when the export has ended.
    pub fn export_step(&self, state: &mut State, generation: Gen, at: ExportAt) -> Option<Run> {
        let first = self.mutant == Some(Mutant::ManifestFirst);
        let slot = &mut state.generations[usize::from(generation)];
        let at = match at {
            ExportAt::Snapshot => {
                state.now += 1;
                slot.as_of = state.now;
                if first { ExportAt::Manifest } else { ExportAt::Data(0) }
            }
            ExportAt::Data(file) => {
                slot.files |= 1 << file;
                match file + 1 {
                    next if next < self.files => ExportAt::Data(next),
                    _ if first => return None,
                    _ => ExportAt::Manifest,
                }
            }
            ExportAt::Manifest => {
                slot.manifest = true;
                slot.created = state.now;
                if !first {
                    return None;
                }
                ExportAt::Data(0)
            }
        };
        Some(Run::Export { generation, at })
    }
}
