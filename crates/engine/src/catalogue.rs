//! The models and tools that are plugged in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use domain::sockets::language_model::ModelError;
use domain::sockets::tool::ToolSpec;
use domain::{LanguageModel, Mode, ModelName, Provider, Surveyor, Tool};

use crate::{Error, Result};

/// How long a provider may take to name its models, before the listed ones have to do.
const LIVE_MODELS_TIMEOUT: Duration = Duration::from_secs(3);

/// The providers and tools of this server.
pub struct Catalogue {
    providers: Vec<Arc<dyn Provider>>,
    tools: Vec<Arc<dyn Tool>>,
    default_model: ModelName,
    surveyor: Option<Arc<dyn Surveyor>>,
}

/// What people may know of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderView {
    pub name: String,
    pub display_name: String,
    pub models: Vec<String>,
    pub is_configured: bool,
    pub is_default: bool,
}

impl Catalogue {
    #[must_use]
    pub fn new(providers: Vec<Arc<dyn Provider>>, tools: Vec<Arc<dyn Tool>>, default_model: ModelName) -> Self {
        Self { providers, tools, default_model, surveyor: None }
    }

    /// With somebody who looks projects over. Without, agents know no more of a project than they find.
    #[must_use]
    pub fn with_surveyor(self, surveyor: Arc<dyn Surveyor>) -> Self {
        Self { surveyor: Some(surveyor), ..self }
    }

    pub(crate) fn surveyor(&self) -> Option<&Arc<dyn Surveyor>> {
        self.surveyor.as_ref()
    }

    /// A tool that the engine itself brings.
    pub(crate) fn add_tool(&mut self, tool: Arc<dyn Tool>) {
        self.tools.push(tool);
    }

    #[must_use]
    pub const fn default_model(&self) -> &ModelName {
        &self.default_model
    }

    #[must_use]
    pub fn providers(&self) -> Vec<ProviderView> {
        self.providers.iter().map(|provider| self.view(&**provider)).collect()
    }

    /// # Errors
    /// [`Error::UnknownProvider`].
    pub fn provider(&self, name: &str) -> Result<&Arc<dyn Provider>> {
        self.providers.iter().find(|provider| provider.name() == name).ok_or(Error::UnknownProvider)
    }

    /// The models the provider offers, and whether it was the provider itself that named them.
    ///
    /// # Errors
    /// [`Error::UnknownProvider`].
    pub async fn models(&self, provider: &str) -> Result<(Vec<String>, bool)> {
        let provider = self.provider(provider)?;
        if provider.is_configured()
            && let Ok(Ok(models)) = tokio::time::timeout(LIVE_MODELS_TIMEOUT, provider.live_models()).await
        {
            return Ok((models, true));
        }
        Ok((provider.listed_models(), false))
    }

    /// Asks the provider about a key, which is forgotten afterwards. The inner error is the provider's word.
    ///
    /// # Errors
    /// [`Error::UnknownProvider`].
    pub async fn check_key(&self, provider: &str, key: &str) -> Result<Result<(), ModelError>> {
        Ok(self.provider(provider)?.check_key(key).await)
    }

    /// # Errors
    /// [`Error::UnknownProvider`], [`Error::InvalidModel`].
    pub fn model(&self, name: &ModelName) -> Result<Arc<dyn LanguageModel>> {
        let provider = self.provider(&name.provider)?;
        let invalid = || Error::InvalidModel { provider: name.provider.clone(), allowed: provider.listed_models() };
        provider.model(&name.model).ok_or_else(invalid)
    }

    /// The model to use for a provider when no model is named.
    ///
    /// # Errors
    /// [`Error::UnknownProvider`], or [`Error::InvalidModel`] if the provider lists none.
    pub fn first_model(&self, provider: &str) -> Result<ModelName> {
        if self.default_model.provider == provider {
            return Ok(self.default_model.clone());
        }
        let listed = self.provider(provider)?.listed_models();
        let first = listed.first().map(|model| ModelName::new(provider, model.clone()));
        first.ok_or_else(|| Error::InvalidModel { provider: provider.to_owned(), allowed: Vec::new() })
    }

    #[must_use]
    pub fn tools(&self) -> Vec<ToolSpec> {
        self.tools.iter().map(|tool| tool.spec().clone()).collect()
    }

    pub(crate) fn tools_in(&self, mode: Mode) -> Vec<ToolSpec> {
        self.tools.iter().map(|tool| tool.spec()).filter(|spec| spec.modes.contains(&mode)).cloned().collect()
    }

    pub(crate) fn tool(&self, name: &str) -> Option<&Arc<dyn Tool>> {
        self.tools.iter().find(|tool| tool.spec().name == name)
    }

    fn view(&self, provider: &dyn Provider) -> ProviderView {
        ProviderView {
            name: provider.name().to_owned(),
            display_name: provider.display_name().to_owned(),
            models: provider.listed_models(),
            is_configured: provider.is_configured(),
            is_default: self.default_model.provider == provider.name(),
        }
    }
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue").field("default_model", &self.default_model).finish_non_exhaustive()
    }
}
