#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tools = local::Tools::prepare().await?;
    let emulator = local::Emulator::start(&tools).await?;
    let stack = emulator.deploy(&local::Deployment::in_account("test")).await?;
    println!("{} {:#?} {:#?}", stack.bucket, stack.functions, stack.outputs);
    Ok(())
}
