//! How many requests one client may send. Counts addresses, whoever asks from there: a caller who is not known yet costs
//! work too. Knows nothing of what is asked.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
};

use actix_web::{
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web,
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::{ClientAddresses, Problem, problem};

const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
/// The part of an IPv6 address that names a network. A client has all addresses of one.
const NETWORK: u128 = !0 << 64;

/// The limit that holds for each client; `web::Data<RateLimit>` in the application.
pub struct RateLimit(Option<DefaultKeyedRateLimiter<IpAddr>>);

impl RateLimit {
    /// So many requests a second in the long run, and twice as many at once; `None` is any number.
    #[must_use]
    pub fn new(per_second: Option<NonZeroU32>) -> Self {
        let quota = |each: NonZeroU32| Quota::per_second(each).allow_burst(each.saturating_mul(TWO));
        Self(per_second.map(|each| RateLimiter::keyed(quota(each))))
    }

    /// Counts a request, and says whether it may pass.
    fn admits(&self, client: IpAddr) -> bool {
        self.0.as_ref().is_none_or(|limiter| limiter.check_key(&counted_as(client)).is_ok())
    }

    /// Forgets the clients that may send a whole burst again. A client has come to that two seconds after its last
    /// request, so whoever calls this every second keeps no more than the clients of three.
    pub fn forget_idle(&self) {
        if let Some(limiter) = &self.0 {
            limiter.retain_recent();
        }
    }
}

impl fmt::Debug for RateLimit {
    /// Without the clients, which may be many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clients = self.0.as_ref().map(RateLimiter::len);
        f.debug_struct("RateLimit").field("clients", &clients).finish()
    }
}

fn counted_as(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// Refuses what goes beyond the [`RateLimit`] of the application; without one, nothing.
pub async fn within_limit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let client = ClientAddresses::address(request.request());
    let admitted = match (request.app_data::<web::Data<RateLimit>>(), client) {
        (Some(limit), Some(client)) => limit.admits(client),
        _ => true,
    };
    if admitted {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let problem = Problem::new(429, "too_many_requests", "too many requests from this address; try again in a second");
    let problem = problem.answering(problem::request_id(&request));
    Ok(request.error_response(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_client() {
        let counted = |address: &str| counted_as(address.parse().unwrap()).to_string();
        assert_eq!(counted("2001:db8:1:2:ffff::9"), "2001:db8:1:2::");
        assert_eq!(counted("192.0.2.7"), "192.0.2.7");
        assert_eq!(counted("::ffff:192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn a_client_may_send_a_burst_and_no_more() {
        let limit = RateLimit::new(NonZeroU32::new(1));
        let client = |last: u8| IpAddr::from([192, 0, 2, last]);
        assert!(limit.admits(client(1)) && limit.admits(client(1)));
        // As far as the machine is not stalled, the third; each second lets another one through.
        assert!((0..1000).any(|_| !limit.admits(client(1))));
        assert!(limit.admits(client(2)));
        let none = RateLimit::new(None);
        assert!((0..1000).all(|_| none.admits(client(1))));
    }
}
