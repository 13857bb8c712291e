//! The command `windrow` from outside: real processes, real sockets, real disks.
//!
//! One binary, so that it is linked once. Each module is about one thing that users rely on.

mod network;
mod support;

mod bodies;
mod calls;
mod catalogue;
mod changed;
mod circles;
mod cuts;
mod damaged;
mod demo;
mod descriptors;
mod directory;
mod dry_run;
mod errors;
mod expiry;
mod failed;
mod faults;
mod flags;
mod framing;
mod full_disk;
mod hedges;
mod hostile;
mod hosts;
mod http2;
mod kills;
mod listing;
mod lists;
mod lists_live;
mod lists_resume;
mod ls;
mod names;
mod nginx;
mod occupied;
mod outage;
mod pauses;
mod proxies;
mod python;
mod redirects;
mod resume;
mod retries;
mod rules;
mod secrets;
mod signals;
mod slow;
mod status;
mod swapper;
mod synthetic;
mod tar;
mod tls;
mod verify;
