//! Starting the emulator on a port that is taken.

use std::net::TcpListener;

use local::Emulator;

use super::emulator;

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_distinguished_from_a_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let straight = async |endpoint: &str| endpoint.to_owned();
    assert!(Emulator::start_at(&emulator().await.tools, port, &straight).await.unwrap().is_none());
}
