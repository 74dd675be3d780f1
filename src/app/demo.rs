//! The demo provider as a part of the process: it runs if no provider is configured, at start or by a reload.
//! Owns the running provider, so that it ends after the workers that stream from it and not with the reload
//! that started it.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    config::{ProviderSettings, Settings},
    demo::{self, Demo},
    upstream::{BaseUrl, Target},
};

/// The running demo provider, if there is one. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct DemoSlot(Arc<Mutex<Option<Demo>>>);

impl DemoSlot {
    pub(super) fn is_running(&self) -> bool {
        self.with(|demo| demo.is_some())
    }

    /// If no provider is configured, adds the demo provider to `settings`. Returns it if it had to be started
    /// for that; it runs on once it is [kept](Self::keep).
    ///
    /// # Errors
    /// It could not listen on loopback, or the system gave no thread.
    pub(super) fn provide(&self, settings: &mut Settings) -> io::Result<Option<Demo>> {
        if !settings.providers.is_empty() {
            return Ok(None);
        }
        let running = self.with(|demo| demo.as_ref().map(Demo::base_url));
        let started = if running.is_none() { Some(demo::start()?) } else { None };
        let base = started.as_ref().map(Demo::base_url).or(running).unwrap_or_default();
        let base = BaseUrl::parse(&base).map_err(|_| io::Error::other("the demo provider has no address"))?;
        let target = Target::plain("demo", base);
        settings
            .providers
            .push(ProviderSettings { models: Some(demo::models()), ..ProviderSettings::plain(target) });
        Ok(started)
    }

    /// From now on `demo` is the running one. `None`: the running one stays.
    pub(super) fn keep(&self, demo: Option<Demo>) {
        if let Some(demo) = demo {
            self.with(|running| *running = Some(demo));
        }
    }

    /// Ends it; streams that it still sends are cut.
    pub(super) fn stop(&self) {
        self.with(|demo| *demo = None);
    }

    fn with<T>(&self, work: impl FnOnce(&mut Option<Demo>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
