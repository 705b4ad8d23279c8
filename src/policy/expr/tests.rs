#[test]
fn measure() {
    for i in 0..5 {
        let t = std::time::Instant::now();
        for j in 0..100 {
            super::Expr::parse(&format!("kind == \"normal\" && idle > duration(\"30m\") && !(name.startsWith(\"worker-{j}\")) || db in [1,2,{j}]")).unwrap();
        }
        eprintln!("{i}: {:?}", t.elapsed() / 100);
    }
}
