//! x
/// x
pub struct Crowd;
