//! htfs: a distributed file system in the shape of the Google File System.
//!
//! One *master* knows names, attributes and where contents live; any number of *chunk servers*
//! hold the contents; a *client* mounts the whole as a directory. All of them speak XML-RPC over
//! HTTPS.
//!
//! # Layout
//!
//! From the ground up; a module may use those above it in this list.
//!
//! * [`types`], [`limits`], [`error`], [`clock`]: plain data, every limit, the closed list of
//!   errors, the only reader of the clock.
//! * [`extent`]: arithmetic on byte ranges.
//! * [`pickle`]: the flat pickles in which Python clients keep attributes.
//! * [`rpc`]: TLS, HTTP and XML-RPC, server and client side. Knows no file system.
//! * [`proto`]: one type per remote method: its name, its encoding, its decoding. No sockets.
//! * [`store`]: durable state: transactions, and the logged hash table over them.
//! * [`dump`]: the files of `write_file` and `read_file`.
//! * [`addresses`]: where chunk servers are, for whoever calls them; [`random`]: numbers for identities.
//! * [`output`]: lines to standard error and standard output, which nobody waits for; [`ratelimit`]:
//!   those that would come too often.
//! * [`descriptors`]: how many files and connections a process may have open.
//! * [`listen`], [`cli`]: addresses to listen on; options, log and signals of the programs.
//! * [`master`], [`chunk`], [`client`]: the three roles. They never import one another; what
//!   they share is [`proto`].
//! * [`admin`]: the commands of the program `htfs`, a client of them all.
//! * [`embedded`]: a master, chunk servers and a client in one process.

pub mod addresses;
pub mod admin;
pub mod chunk;
pub mod cli;
pub mod client;
pub mod clock;
pub mod descriptors;
pub mod dump;
pub mod embedded;
pub mod error;
pub mod extent;
pub mod limits;
pub mod listen;
pub mod master;
pub mod output;
pub mod pickle;
pub mod proto;
pub mod random;
pub mod ratelimit;
pub mod rpc;
pub mod store;
pub mod types;
