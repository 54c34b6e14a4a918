//! The RPC server as any peer on the network sees it: good calls, bad ones, slow ones.

mod rpc_support;

use htfs::rpc::Value;
use rpc_support::{Echo, TestServer};

#[tokio::test]
async fn values_of_every_size_come_back() {
    let server = TestServer::start().await;
    let client = server.client();
    for size in [0, 1, 511, 512, 513, 98_304, 98_305, 5 << 20] {
        let contents: Vec<u8> = (0..=250).cycle().take(size).collect();
        let answer = client.call(&server.url, Echo(Value::Base64(contents.clone()))).await;
        assert_eq!(answer.unwrap().0, Value::Base64(contents));
    }
    server.stop().await;
}
