//! PostgreSQL's `COPY … (FORMAT binary)` → Arrow: bytes in, batches out.

mod column;
mod decode;
mod numeric;
mod value;
mod wire;

pub use decode::Decoder;
pub use wire::Wire;
