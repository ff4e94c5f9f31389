//! Who asks, as he is to see himself.

use super::{AccessEntry, Actor, Directory, DirectoryError, SessionInfo, TokenInfo};
use crate::domain::{account::Account, session::Session};

/// Who asks.
#[derive(Clone, Debug)]
pub struct Me {
    pub account: Account,
    pub access: Vec<AccessEntry>,
    pub came: Came,
}

/// What somebody comes with.
#[derive(Clone, Debug)]
pub enum Came {
    WithToken(Box<TokenInfo>),
    InSession(SessionInfo),
}

impl Directory {
    /// The account of the one who asks, with his access and what he came with; `None` for who stands above all accounts.
    pub async fn me(&self, actor: &Actor) -> Result<Option<Me>, DirectoryError> {
        let standing = self.standing(actor).await?;
        let Some(bearer) = standing.authority.bearer() else { return Ok(None) };
        let account = bearer.account.clone();
        let came = match (&bearer.token, &standing.session) {
            (Some(token), _) => Came::WithToken(Box::new(self.info(token.clone(), &account, standing.now).await?)),
            (None, Some(session)) => Came::InSession(self.session_info(Session::clone(session), &account, &standing)),
            (None, None) => return Ok(None),
        };
        let access = self.living_rows(&account, bearer.access.clone(), |_| true).await?;
        Ok(Some(Me { account, access, came }))
    }
}
