//! One load, for looking at a process with a profiler meanwhile.

use crate::Result;
use crate::api::{Api, provider_turn, socket_turn, turn};
use crate::client::{Turn, Wait, Watchers, prepare};
use crate::measures;
use crate::options::{ClientOptions, Through};
use crate::plan::Plan;
use crate::process::Process;
use crate::stats::{float, in_us, quantile};

pub async fn run(options: &ClientOptions) -> Result<()> {
    let plan = Plan { deltas: options.deltas, deltas_per_s: options.rate };
    let mut started = None;
    let address = match options.address {
        Some(address) => address,
        None => {
            let place = measures::place()?;
            let upstream = Process::own(&["upstream"])?;
            let server = place.server(place.data.path(), Some(upstream.address))?;
            eprintln!("the server is process {}", server.process.id());
            let address = server.process.address;
            started = Some((place, upstream, server));
            address
        }
    };
    let api = Api::at(address);
    for _ in 0..options.rounds {
        let before = started.as_ref().map(|(.., server)| server.process.cpu_ns()).transpose()?;
        let deltas = match options.watchers {
            Some(watchers) => watch(&api, address, watchers, options, plan).await?,
            None => turns(&api, address, options, plan).await?,
        };
        if let (Some((.., server)), Some(before)) = (&started, before) {
            let spent = server.process.cpu_ns()?.since(&before);
            println!("{:.2} us of CPU for each of {deltas}: {spent:?}", in_us(spent.total()) / float(deltas));
        }
    }
    Ok(())
}

async fn turns(api: &Api, address: std::net::SocketAddr, options: &ClientOptions, plan: Plan) -> Result<u64> {
    let turns: Vec<Turn> = match options.through {
        Through::Provider => vec![provider_turn(plan); options.turns],
        Through::Sse => api.sessions(options.turns).await?.iter().map(|session| turn(session, plan)).collect(),
        Through::Socket => api.sessions(options.turns).await?.iter().map(|session| socket_turn(session)).collect(),
    };
    let report = prepare(address, turns, plan).await?.run().await?;
    let mut latency = report.latency_ns(std::time::Duration::ZERO);
    let (p50, p99) = (in_us(quantile(&mut latency, 0.5)), in_us(quantile(&mut latency, 0.99)));
    let first = in_us(quantile(&mut report.first_ns(), 0.5));
    let per_s = float(report.deltas()) / float(report.elapsed_ns()) * 1e9;
    println!("{per_s:.0} deltas/s; p50 {p50:.0} us, p99 {p99:.0} us; first delta after {first:.0} us");
    Ok(report.deltas())
}

async fn watch(api: &Api, address: std::net::SocketAddr, watchers: usize, options: &ClientOptions, plan: Plan) -> Result<u64> {
    let wait = if options.through == Through::Socket { Wait::Socket } else { Wait::Sse };
    let session = api.session().await?;
    let all = Watchers::attach(address, &session, watchers, wait, plan).await?;
    api.say(&session, plan).await?;
    Ok(all.finish().await?.iter().map(|heard| u64::from(heard.deltas)).sum())
}
