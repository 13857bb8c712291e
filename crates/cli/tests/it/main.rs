//! The command `windrow` from outside: real processes, real sockets, real disks.
//!
//! One binary, so that it is linked once. Each module is about one thing that users rely on.

mod support;

mod catalogue;
mod circles;
mod cuts;
mod demo;
mod directory;
mod errors;
mod failed;
mod faults;
mod flags;
mod framing;
mod full_disk;
mod hostile;
mod listing;
mod ls;
mod names;
mod nginx;
mod occupied;
mod pauses;
mod python;
mod retries;
mod rules;
mod signals;
mod status;
mod swapper;
mod synthetic;
mod tar;
mod verify;
