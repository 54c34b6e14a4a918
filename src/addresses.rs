//! Where chunk servers are, as their master tells: kept, and asked for again when one is not where it
//! was.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::cluster::Member;
use crate::types::{ServerAddress, ServerId};

/// A chunk server by what a layout calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Which one it is.
    pub server: ServerId,
    /// Where to call it.
    pub address: Arc<str>,
}

/// The addresses of the chunk servers of one master.
#[derive(Debug, Default)]
pub struct Addresses {
    known: RwLock<HashMap<ServerId, Arc<Located>>>,
    /// When the master was last asked; held while it is.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl Addresses {
    /// Where a server is. `ask` asks the master for all servers, if this one is not known.
    ///
    /// # Errors
    /// Those of asking; `UnknownServer` if the master does not know it either.
    pub async fn of<F>(&self, name: &ServerId, ask: impl FnOnce() -> F) -> Result<Arc<Located>>
    where
        F: Future<Output = Result<Vec<Member>>>,
    {
        if let Some(located) = self.find(name) {
            return Ok(located);
        }
        if name.is_number() {
            return self.of_member(name, ask).await;
        }
        // It may have got an identity since, and be somewhere else: another server may be there now.
        if self.asked.lock().await.is_none() {
            self.refresh(None, ask).await?;
        }
        Ok(self.find(name).unwrap_or_else(|| by_url(name)))
    }

    /// Where a server is that must be a member of the cluster.
    ///
    /// # Errors
    /// As [`Addresses::of`].
    pub async fn of_member<F>(
        &self,
        name: &ServerId,
        ask: impl FnOnce() -> F,
    ) -> Result<Arc<Located>>
    where
        F: Future<Output = Result<Vec<Member>>>,
    {
        if let Some(located) = self.find(name) {
            return Ok(located);
        }
        self.refresh(None, ask).await?;
        self.find(name).ok_or_else(|| {
            let message = format!("the master knows no chunk server {}", name.short());
            FsError::new(ErrorKind::UnknownServer, message)
        })
    }

    /// Where a server is that was not at `tried`; `None` if the master says that it should be, or was
    /// asked just now.
    ///
    /// # Errors
    /// Those of asking.
    pub async fn instead_of<F>(
        &self,
        name: &ServerId,
        tried: &Located,
        ask: impl FnOnce() -> F,
    ) -> Result<Option<Arc<Located>>>
    where
        F: Future<Output = Result<Vec<Member>>>,
    {
        self.refresh(Some((name, tried)), ask).await?;
        Ok(self.find(name).filter(|located| **located != *tried))
    }

    /// Asks the master, unless somebody else has done so meanwhile.
    async fn refresh<F>(
        &self,
        tried: Option<(&ServerId, &Located)>,
        ask: impl FnOnce() -> F,
    ) -> Result<()>
    where
        F: Future<Output = Result<Vec<Member>>>,
    {
        let begun = Instant::now();
        let mut asked = self.asked.lock().await;
        let is_moved = |(name, tried): (&ServerId, &Located)| {
            self.find(name).is_some_and(|located| *located != *tried)
        };
        let is_answered = asked.is_some_and(|asked| asked >= begun) || tried.is_some_and(is_moved);
        if is_answered {
            return Ok(());
        }
        if let Some(next) = asked.map(|asked| asked + limits::ADDRESSES_AGE_MIN)
            && next > begun
        {
            if tried.is_some() {
                return Ok(());
            }
            // It may have joined just now.
            tokio::time::sleep_until(next.into()).await;
        }
        let members = ask().await?;
        *asked = Some(Instant::now());
        let located = members.into_iter().map(|member| {
            let Member { named, server, url } = member;
            let address = ServerAddress::new(&server, &url).as_str().into();
            (named, Arc::new(Located { server, address }))
        });
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = located.collect();
        Ok(())
    }

    fn find(&self, name: &ServerId) -> Option<Arc<Located>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// A server of the original programs, and any at which records name it by its URL, is there.
fn by_url(name: &ServerId) -> Arc<Located> {
    Arc::new(Located { server: name.clone(), address: name.as_str().into() })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::Addresses;
    use crate::error::{ErrorKind, Result};
    use crate::limits;
    use crate::proto::cluster::Member;
    use crate::types::{ServerId, ServerUrl};

    fn member(number: u128, port: u16) -> Member {
        let server = ServerId::new(number);
        let url = ServerUrl::new(format!("https://localhost:{port}")).unwrap();
        Member { named: server.clone(), server, url }
    }

    async fn nobody_asks() -> Result<Vec<Member>> {
        panic!("the master is asked")
    }

    #[tokio::test]
    async fn a_server_is_asked_for_once_and_again_when_it_has_moved() {
        let addresses = Addresses::default();
        let id = ServerId::new(1);
        let first = addresses.of(&id, async || Ok(vec![member(1, 9001)])).await.unwrap();
        assert_eq!(*first.address, *format!("https://localhost:9001#{id}"));
        assert_eq!(addresses.of(&id, nobody_asks).await.unwrap(), first);
        assert_eq!(addresses.instead_of(&id, &first, nobody_asks).await.unwrap(), None);
        // As if that was some time ago.
        *addresses.asked.lock().await = Instant::now().checked_sub(limits::ADDRESSES_AGE_MIN);
        let moved = async || Ok(vec![member(1, 9002)]);
        let second = addresses.instead_of(&id, &first, moved).await.unwrap().unwrap();
        assert_eq!(*second.address, *format!("https://localhost:9002#{id}"));
        // Who failed at the old place at the same time need not ask.
        let others = addresses.instead_of(&id, &first, nobody_asks).await.unwrap();
        assert_eq!(others, Some(second));
    }

    #[tokio::test]
    async fn what_has_no_identity_is_at_its_url() {
        let addresses = Addresses::default();
        let url = ServerUrl::new("https://localhost:9001").unwrap();
        let name = ServerId::from(&url);
        let located = addresses.of(&name, async || Ok(Vec::new())).await.unwrap();
        assert_eq!(*located.address, *url.as_str());
        assert_eq!(addresses.of(&name, nobody_asks).await.unwrap(), located);
        let unknown = addresses.of(&ServerId::new(7), async || Ok(Vec::new())).await;
        assert_eq!(unknown.unwrap_err().kind(), ErrorKind::UnknownServer);
    }

    #[tokio::test]
    async fn what_older_records_name_by_its_url_is_where_its_identity_is() {
        let addresses = Addresses::default();
        let name = ServerId::from(&ServerUrl::new("https://localhost:9001").unwrap());
        // Somebody else is at that URL by now.
        let members = vec![Member { named: name.clone(), ..member(1, 9002) }, member(2, 9001)];
        let located = addresses.of(&name, async || Ok(members)).await.unwrap();
        assert_eq!(located.server, ServerId::new(1));
        assert!(located.address.starts_with("https://localhost:9002#"));
    }
}
