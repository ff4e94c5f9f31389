//! The predecessor of a rotated token that is used after its grace: the trail says so, and where the rules demand it the
//! tokens that came of it end.

use serde_json::{Map, json};

use super::{Actor, Directory, DirectoryError};
use crate::{
    domain::{
        event::{Action, By, Event},
        token::{Token, TokenId},
        token_rules::OnLeak,
    },
    gate::signs::Leak,
    store::{Key, StoreError},
};

/// How many rotations are followed. Somebody who rotates every day comes this far in 27 years.
const LONGEST_FAMILY: usize = 10_000;

impl Directory {
    /// Reports a leak. Whether there was one to report: the token may have gone meanwhile.
    pub async fn report_leak(&self, leak: &Leak) -> Result<bool, DirectoryError> {
        let Some(token) = self.get::<Token>(Key::Token(leak.token.clone())).await? else { return Ok(false) };
        let Some(successor) = token.superseded.as_ref().map(|superseded| superseded.by.clone()) else { return Ok(false) };
        let Some((owner, _)) = self.owner(&token).await? else { return Ok(false) };
        // First of all: the report can be made again, the harm is done once.
        let revoked_family = match self.token_rules.on_leak {
            OnLeak::Report => false,
            OnLeak::RevokeFamily => self.revoke_family(&token).await?,
        };
        let by = By { account: Some(owner.login.to_string()), credential: Some(token.id.to_string()), address: leak.address };
        let mut event = Event::done(Action::TokenLeak, token.id.as_str(), leak.at, by);
        event.after = Some(Map::from_iter([
            ("account".to_owned(), json!(owner.login)),
            ("successor".to_owned(), json!(successor)),
            ("revoked_family".to_owned(), json!(revoked_family)),
        ]));
        self.tell(&event).await?;
        self.notify(event).await;
        Ok(true)
    }

    /// Revokes what came of the token by rotation, as far as it is alive, with what was minted with it.
    async fn revoke_family(&self, token: &Token) -> Result<bool, DirectoryError> {
        let why = format!("leak of {}", token.id);
        match self.revoke(&Actor::system("leak"), &self.newest_of_family(token).await?, false, Some(&why), None).await {
            Ok(_) => Ok(true),
            // With its account it has gone.
            Err(DirectoryError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn newest_of_family(&self, token: &Token) -> Result<TokenId, StoreError> {
        let mut newest = token.clone();
        for _ in 0..LONGEST_FAMILY {
            let Some(successor) = &newest.superseded else { break };
            let Some(successor) = self.get::<Token>(Key::Token(successor.by.clone())).await? else { break };
            newest = successor;
        }
        Ok(newest.judged.id)
    }
}
