//! A server that classifies images with a network: a page, JSON over HTTP, and KServe's open
//! inference protocol. It reads no path and no address that a client names. Nothing here prints.
//!
//! Images are decoded by a pool of threads as wide as the machine; one thread owns the network and
//! takes what has arrived as one batch. Nothing waits without a bound: connections, bytes of
//! requests and images under way are counted, and what is too much is refused at once.

mod app;
mod connections;
mod guard;
mod kserve;
mod metrics;
mod network;
mod page;
mod reply;
mod routes;
mod stream;
mod tensors;
mod upload;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
};

use anyhow::Context;
use tokio::runtime::Runtime;

pub use self::app::Limits;
use self::{app::App, network::Network};
use crate::evaluation::predictor::Predictor;

/// A server that has its port.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    hosts: Vec<String>,
    limits: Limits,
}

impl Server {
    /// Takes a port; port 0 stands for any that is free. `hosts` are names besides `localhost` and
    /// IP addresses by which the server may be addressed.
    ///
    /// # Errors
    /// Returns an error if the address isn't one of this machine or the port is taken.
    pub fn bind(address: SocketAddr, hosts: Vec<String>, limits: Limits) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .with_context(|| format!("can't listen at {address}; choose another --port"))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            hosts,
            limits,
        })
    }

    /// Returns the address that it listens at.
    ///
    /// # Errors
    /// Returns an error if the system doesn't tell.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until `stop` is set and what has arrived until then is answered. The calling thread
    /// is the one that owns the network.
    ///
    /// # Errors
    /// Returns an error if the system lacks threads.
    pub fn run(self, predictor: &Predictor<'_>, stop: &AtomicBool) -> anyhow::Result<()> {
        let (sender, jobs) = sync_channel(self.limits.images);
        let app = Arc::new(App::new(predictor, self.hosts, self.limits, sender));
        let network = Network::new(predictor, Arc::clone(&app.metrics));
        let runtime = runtime()?;
        std::thread::scope(|scope| {
            let connections = std::thread::Builder::new()
                .name("connections".to_owned())
                .spawn_scoped(scope, move || {
                    let served = runtime.block_on(connections::serve(self.listener, &app, stop));
                    // What is still connected after its time isn't waited for.
                    runtime.shutdown_background();
                    served
                })?;
            // Without the network, there is nothing to serve.
            let _stop = StopAtEnd(stop);
            // Ends when the last connection is gone, and with it the last sender of jobs.
            network.run(&jobs);
            connections
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Sets a flag when it goes, in a panic as well.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Returns the threads for connections and for decoding.
fn runtime() -> anyhow::Result<Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.min(2))
        .max_blocking_threads(threads)
        .enable_io()
        .enable_time()
        .build()
        .context("can't start the server's threads")
}
