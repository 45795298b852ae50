//! Runs the contract suite, which checks the behaviour of AWS that Turntable relies on: in memory, on MiniStack and on
//! moto.

use std::path::Path;

use tests::{
    contract::{
        Subject,
        account::{Account, PREFIX},
        all,
        differences::{MINISTACK, MOTO},
        judge,
    },
    moto::Moto,
};

use crate::chain::{account, emulator};

fn none(faults: &[String]) {
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    none(&judge(Subject::memory(), &[]).await.faults());
}

#[tokio::test(flavor = "multi_thread")]
async fn ministack_differs_as_listed() {
    let (emulator, own) = (emulator().await, account());
    let account = Account::new(emulator.sdk_config(&own), &format!("{PREFIX}ministack")).unwrap();
    let account = account.with_athena(emulator.athena_config(&own), "primary");
    let report = account.run(MINISTACK).await;
    none(&report.faults());
    // With Athena, no clause is skipped.
    assert_eq!(report.outcomes.len(), all().count());
    // Everything is deleted, even though clauses failed.
    account.vacant().await.unwrap();

    // The suite leaves an existing bucket alone.
    let taken = format!("{PREFIX}taken");
    let s3 = aws_sdk_s3::Client::new(&emulator.sdk_config(&own));
    s3.create_bucket().bucket(&taken).send().await.unwrap();
    let refused = Account::new(emulator.sdk_config(&own), &taken).unwrap().run(&[]).await.faults();
    assert_eq!(refused, [format!("{taken} exists already: choose another name, or delete it with --delete")]);
    s3.head_bucket().bucket(&taken).send().await.unwrap();
}

#[test]
fn only_names_of_its_own_are_taken() {
    let aws = || cli::aws::config(cli::aws::Credentials::new("a", "b", None, None, "test"), "eu-west-1", None);
    for name in
        ["lake", "turntable-contract-", "turntable-contract-A", "turntable-contract-a/b", "x-turntable-contract-a"]
    {
        assert!(Account::new(aws(), name).is_err(), "{name}");
    }
    assert!(Account::new(aws(), "turntable-contract-a1").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_differs_as_listed() {
    let moto = Moto::start(Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()).await;
    let account = Account::new(moto.sdk_config(), &format!("{PREFIX}moto")).unwrap();
    none(&account.run(MOTO).await.faults());
}
