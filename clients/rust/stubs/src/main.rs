//! Writes `src/gen.rs`, or another file that it is given, anew from the libraries' own copy of the protos: `cargo run -p stubs`, in the folder of
//! the library.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = protox::compile(["lingpai/client/v1/client.proto"], ["../proto"])?;
    let folder = std::env::temp_dir().join(format!("lingpai-stubs-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let mut config = prost_build::Config::new();
    config.out_dir(&folder).disable_comments(["."]).btree_map(["."]);
    config.compile_fds(files)?;
    let made = std::env::args().nth(1).unwrap_or("src/gen.rs".into());
    std::fs::copy(folder.join("lingpai.client.v1.rs"), made)?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
