//! Word of tokens that need somebody's care: they end soon, rest, or have leaked. The trail has it in any case; this hands
//! it to whoever sends it on, and does not know how.

use super::{Directory, Recorded, edit, trail};
use crate::{
    domain::event::Event,
    store::{Order, StoreError, Trail},
};

/// How far back an event is looked for that was recorded just now: near at first, as few others come in between.
const LOOK_BACK: [usize; 3] = [10, 100, 1_000];

/// Who is told. It must not wait: it takes the word and sends it later, or drops it.
pub trait Notices: Send + Sync + 'static {
    fn tell(&self, recorded: Recorded);
}

impl Directory {
    /// Tells of an event that is in the trail.
    pub(super) async fn notify(&self, event: Event) {
        let Some(notices) = &self.notices else { return };
        let id = self.id_in_the_trail(&event).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "a notice goes without the id of its event");
            None
        });
        notices.tell(Recorded { id: id.unwrap_or_default(), event });
    }

    /// The store names an entry when it is written, and says so to those who read the trail.
    async fn id_in_the_trail(&self, event: &Event) -> Result<Option<String>, StoreError> {
        let json = edit::entry(event)?.json;
        for limit in LOOK_BACK {
            let latest = self.store.entries(Trail::Changes, None, Order::NewestFirst, limit).await?;
            if let Some((id, _)) = latest.into_iter().find(|(_, entry)| *entry == json) {
                return Ok(Some(trail::name(Trail::Changes, id)));
            }
        }
        Ok(None)
    }
}
