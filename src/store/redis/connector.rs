//! Makes connections, all alike: RESP3, without Nagle, with time limits. Where to is for others to know.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ProtocolVersion, PushInfo, RedisError,
    aio::MultiplexedConnection, io::tcp::TcpSettings,
};

/// Who the user is and how long to wait.
pub(super) struct Connector {
    info: ConnectionInfo,
    timeout: Duration,
}

impl Connector {
    /// Of `info`, the address is only an example.
    pub(super) fn new(info: ConnectionInfo, timeout: Duration) -> Self {
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Self { info: info.set_redis_settings(redis).set_tcp_settings(tcp_settings(timeout)), timeout }
    }

    /// The connection lives in the runtime of who asks, and ends with the last of its clones. `told` gets what the server
    /// says unasked, and the end of the connection.
    pub(super) async fn open(
        &self,
        address: &ConnectionAddr,
        told: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
            // The driver's 50 would make checks wait for each other before they are even sent.
            .set_pipeline_buffer_size(1024)
            .set_push_sender(move |push| {
                told(push);
                Ok::<_, std::convert::Infallible>(())
            });
        let client = Client::open(self.info.clone().set_addr(address.clone()))?;
        client.get_multiplexed_async_connection_with_config(&config).await
    }
}

fn tcp_settings(timeout: Duration) -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    // Without it a connection whose other end has vanished without a word stays "open" for a quarter of an
    // hour, and every call on it times out.
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout((timeout * 10).max(Duration::from_secs(1)));
    #[cfg(not(target_os = "linux"))]
    let _ = timeout;
    settings
}
