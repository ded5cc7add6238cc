//! Accepts connections and ends them: after too long a header, and all of them when the server
//! stops.

use std::{
    net::TcpListener as Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

use super::{app::App, routes, stream::Timed};

/// Time between two looks at whether to stop: the flag is set by the thread that receives signals.
const POLL: Duration = Duration::from_millis(50);

/// Time that requests have to end after the server was asked to stop.
const LAST: Duration = Duration::from_secs(30);

/// Longest header of a request in bytes.
const HEADER: usize = 16 << 10;

/// Serves until `stop` is set, and then what has arrived until then.
pub(super) async fn serve(bound: Bound, app: &Arc<App>, stop: &AtomicBool) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(bound)?;
    let slots = Arc::new(Semaphore::new(app.limits.connections));
    let service = TowerToHyperService::new(routes::router(app));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(app.limits.header)
        .max_buf_size(HEADER);
    while !stop.load(Ordering::SeqCst) {
        let Ok((stream, slot)) = timeout(POLL, accept(&listener, &slots)).await else {
            continue;
        };
        let stream = TokioIo::new(Timed::new(stream, app.limits.body_time));
        let connection = graceful.watch(http.serve_connection(stream, service.clone()));
        app.metrics.connected();
        let app = Arc::clone(app);
        tokio::spawn(async move {
            // A client that breaks the protocol or hangs up ends its own connection only.
            let _ = connection.await;
            app.metrics.disconnected();
            drop(slot);
        });
    }
    app.stop();
    drop(listener);
    // What takes longer is cut off.
    let _ = timeout(LAST, graceful.shutdown()).await;
    Ok(())
}

/// Waits for a connection, and before that for one of the open ones to end if there are too many.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let slot = Arc::clone(slots).acquire_owned().await;
        match (listener.accept().await, slot) {
            (Ok((stream, _)), Ok(slot)) => {
                // Without it, only latency is lost.
                let _ = stream.set_nodelay(true);
                return (stream, slot);
            }
            // The system is out of descriptors, or the client is gone already.
            _ => sleep(POLL).await,
        }
    }
}
