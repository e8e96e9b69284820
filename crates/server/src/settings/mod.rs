//! The settings. Each is defined once, in [`table`]; the parser, `--help` and `docs/settings.md` come from there.
//!
//! A flag beats the environment, the environment beats `colloquy.toml`. An empty value is as good as none.

mod file;
mod models;
mod page;
mod readers;
mod table;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches};

use crate::config::ServerConfig;
use file::File;
pub use page::page;
use table::{Kind, SETTINGS, Setting};

/// The exit code for settings that are wrong (`EX_CONFIG` of sysexits.h).
pub const EXIT_CODE: u8 = 78;

const FILE_NAME: &str = "colloquy.toml";
const OWN_PREFIX: &str = "COLLOQUY_";

/// A setting is wrong. The text is one line that names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(pub String);

/// Where settings come from.
#[derive(Debug, Default)]
pub struct Sources {
    pub environment: BTreeMap<OsString, OsString>,
    /// By key.
    pub flags: BTreeMap<&'static str, String>,
    /// `--config`.
    pub file: Option<PathBuf>,
}

/// What was read.
#[derive(Debug)]
pub struct Settings {
    pub config: ServerConfig,
    /// Lines about settings that have no effect.
    pub warnings: Vec<String>,
}

/// The flags of the settings, for every command.
pub fn arguments() -> impl Iterator<Item = Arg> {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .global(true)
        .help("Reads this file instead of colloquy.toml in the data directory");
    let flags = SETTINGS.iter().filter_map(|setting| {
        let flag = setting.flag()?;
        let help = format!("{} [{}, default: {}]", page::plain(setting.help), setting.env, page::plain(setting.default));
        Some(Arg::new(setting.key).long(flag).value_name(setting.value).global(true).help(help))
    });
    std::iter::once(config).chain(flags)
}

impl Sources {
    /// The process's environment, and what clap has found for [`arguments`].
    #[must_use]
    pub fn of_process(matches: &ArgMatches) -> Self {
        let given = |setting: &'static Setting| {
            setting.flag()?;
            Some((setting.key, matches.get_one::<String>(setting.key)?.clone()))
        };
        Self {
            environment: std::env::vars_os().collect(),
            flags: SETTINGS.iter().filter_map(given).collect(),
            file: matches.get_one::<String>("config").map(PathBuf::from),
        }
    }

    /// Reads everything, and looks at it as a whole.
    ///
    /// # Errors
    /// The first setting that is unknown or wrong.
    pub fn read(&self) -> Result<Settings, SettingsError> {
        self.refuse_unknown()?;
        let named_file = self.file.as_deref().map(File::read).transpose()?;
        let data_dir = self.data_dir(named_file.as_ref())?;
        let file = match named_file {
            Some(file) => file,
            None => own_file(&data_dir)?,
        };

        let mut config = ServerConfig::in_directory(data_dir);
        let mut vendors = BTreeMap::new();
        let mut warnings = Vec::new();
        for setting in SETTINGS {
            let Some((source, value)) = self.find(setting, &file)? else { continue };
            let wrong = |reason| SettingsError(format!("{source}: {reason}"));
            match setting.kind {
                Kind::Plain(read) | Kind::Private(read) => read(&mut config, &value).map_err(wrong)?,
                Kind::Vendor(vendor, read) => {
                    read(vendors.entry(vendor).or_insert_with(|| models::of_vendor(vendor)), &value).map_err(wrong)?;
                }
                Kind::Later if setting.env.starts_with(OWN_PREFIX) => {
                    warnings.push(format!("{source} is set but not used by this version"));
                }
                Kind::Later => {}
            }
        }
        if config.projects.is_empty() {
            for (source, name, path) in file.projects()? {
                let wrong = |reason| SettingsError(format!("{source}: {reason}"));
                readers::add_project(&mut config, &name, &path).map_err(wrong)?;
            }
        }
        if config.rules_data.is_none() {
            config.rules_data = readers::rules_of_postgres_variables(&self.environment).map_err(SettingsError)?;
        }
        config.model_servers = models::servers(&file, &vendors, &self.environment)?;
        warnings.extend(file.later_tables());
        config.check().map_err(SettingsError)?;
        Ok(Settings { config, warnings })
    }

    fn refuse_unknown(&self) -> Result<(), SettingsError> {
        for name in self.environment.keys() {
            let name = name.to_string_lossy();
            if name.starts_with(OWN_PREFIX) && !SETTINGS.iter().any(|setting| setting.env == name) {
                return Err(SettingsError(format!("{name}: there is no such setting")));
            }
        }
        Ok(())
    }

    /// It tells where the file is, so it must be known before the file.
    fn data_dir(&self, named_file: Option<&File>) -> Result<PathBuf, SettingsError> {
        let empty = File::default();
        match self.find(&table::DATA_DIR, named_file.unwrap_or(&empty))? {
            Some((source, value)) => readers::absolute(&value).map_err(|reason| SettingsError(format!("{source}: {reason}"))),
            None => platform_data_dir(&self.environment).ok_or_else(|| {
                SettingsError("COLLOQUY_DATA_DIR: neither this nor HOME is set, so there is no place for data".to_owned())
            }),
        }
    }

    /// The value that counts, and the name of where it was found.
    fn find(&self, setting: &Setting, file: &File) -> Result<Option<(String, String)>, SettingsError> {
        if let (Some(flag), Some(value)) = (setting.flag(), self.flags.get(setting.key)) {
            return Ok(Some((format!("--{flag}"), value.clone())));
        }
        if let Some(value) = self.environment.get(OsString::from(setting.env).as_os_str()).filter(|value| !value.is_empty()) {
            let value = value.to_str().ok_or_else(|| SettingsError(format!("{}: the value is not UTF-8", setting.env)))?;
            return Ok(Some((setting.env.to_owned(), value.to_owned())));
        }
        file.find(setting.key)
    }
}

fn own_file(data_dir: &Path) -> Result<File, SettingsError> {
    let path = data_dir.join(FILE_NAME);
    // Only "not there" means that there are no settings in it.
    if matches!(path.try_exists(), Ok(false)) {
        return Ok(File::default());
    }
    let file = File::read(&path)?;
    match file.find(table::DATA_DIR.key)? {
        Some((source, _)) => Err(SettingsError(format!("{source}: a file in the data directory cannot say where that is"))),
        None => Ok(file),
    }
}

#[cfg(not(target_os = "macos"))]
fn platform_data_dir(environment: &BTreeMap<OsString, OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| environment.get(std::ffi::OsStr::new(name)).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(base.join("colloquy"))
}

#[cfg(target_os = "macos")]
fn platform_data_dir(environment: &BTreeMap<OsString, OsString>) -> Option<PathBuf> {
    let home = environment.get(std::ffi::OsStr::new("HOME")).map(PathBuf::from).filter(|path| path.is_absolute())?;
    Some(home.join("Library/Application Support/colloquy"))
}
