//! What the mount asks of the servers, counted between a real mount and real servers.

mod common;

use std::fs;
use std::future::Future;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use common::cluster::{Cluster, Kind};
use common::keys;
use htfs::client::calls::Calls;
use htfs::client::classic::{HtProxy, Memory};
use htfs::client::fuse::Options;
use htfs::client::mount::Mounted;
use htfs::limits;
use htfs::rpc::tls::Trust;
use htfs::rpc::{CallError, Method, RpcClient};

/// Carries calls, and writes down which.
#[derive(Clone)]
struct Counting {
    client: RpcClient,
    /// The server and the method of each.
    calls: Arc<Mutex<Vec<(String, &'static str)>>>,
}

impl Calls for Counting {
    fn call<M: Method>(
        &self,
        url: &str,
        call: M,
    ) -> impl Future<Output = Result<M::Answer, CallError>> + Send {
        self.calls.lock().expect("nobody panics with the list").push((url.to_owned(), M::NAME));
        self.client.call(url, call)
    }
}

/// Runs programs in another process while this one serves the mount.
async fn run(program: &str, at: &Path) {
    let mut command = Command::new("bash");
    command.args(["-euc", program]).current_dir(at);
    let ran = tokio::task::spawn_blocking(move || common::run(&mut command)).await;
    ran.expect("the program does its work");
}

#[tokio::test(flavor = "multi_thread")]
async fn five_megabytes_in_small_pieces_cost_one_transfer() {
    let cluster = tokio::task::block_in_place(|| Cluster::start(&Kind::Rust, 2));
    let trust = Trust::load(&keys().certificate).unwrap();
    let client = RpcClient::new(trust, limits::CALL_TIMEOUT);
    let calls = Counting { client, calls: Arc::default() };
    let proxy = HtProxy::new(calls.clone(), cluster.master.url.clone(), None, 1000);
    let memory = Memory::open(proxy, None, (0, 0)).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        source: "counted".to_owned(),
        timeout: Some(limits::CALL_TIMEOUT),
        allows_other: false,
        trusts_set_id: false,
        trusts_devices: false,
    };
    let mounted = Mounted::new(memory, dir.path(), options).await.unwrap();

    let count = || std::mem::take(&mut *calls.calls.lock().unwrap());
    count();
    run("dd if=/dev/zero of=big bs=1k count=5120 status=none", dir.path()).await;
    let written = count();
    // dd duplicates its descriptor and closes the first: so the file is stored empty, and then once
    // more with all its contents.
    assert!(written.len() <= 20, "{written:?}");
    assert_eq!(
        written.iter().filter(|(_, method)| *method == "changeSize").count(),
        2,
        "{written:?}"
    );
    run("test $(dd if=big bs=1k status=none | wc -c) = 5242880", dir.path()).await;
    let read = count();
    // How often the master is asked for attributes is a matter of how long the reading takes.
    assert!(read.iter().all(|(_, method)| *method == "get"), "{read:?}");
    let contents = read.iter().filter(|(server, _)| *server != cluster.master.url).count();
    assert!(contents <= 3, "the file, and perhaps the list of names: {read:?}");
    run("echo hello > hello; cat hello; ls -l > /dev/null", dir.path()).await;
    let small = count();
    assert!(small.len() <= 25, "{small:?}");
    mounted.unmount().await.unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
