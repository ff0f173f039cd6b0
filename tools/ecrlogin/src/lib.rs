//! Gets registry credentials from Amazon ECR: the third part of the document, `registry`.
//!
//! `GetAuthorizationToken` by the AWS SDK, with the standard chain of credentials. The token goes
//! into the document and nowhere else: no file, no argument, no environment.

mod answer;
mod cache;
mod chain;
mod clock;
mod docker;
mod error;
mod format;
#[doc(hidden)]
pub mod fuzz;
mod helper;
mod host;
mod http;
mod install;
mod login;
mod logins;
mod options;
mod repository;
mod role;
mod sources;
mod token;
mod validity;
mod wanted;

use std::process::ExitCode;

use futures_util::future::join_all;
use jiff::Timestamp;
use slipway_release::{Document, Failure, Image, Registry};
use slipway_shell::{Context, Span, Tool};

pub use answer::Denial;
pub use docker::DockerError;
pub use error::Error;
pub use host::EcrHost;
pub use options::{Command, Format, Options};
pub use repository::RepositoryError;

use cache::Cache;
use login::Login;
use repository::{Care, Wish};
use role::Role;
use token::{Target, Token};
use wanted::{Named, Wanted};

/// A registry that the document only names may not hold up the image's own.
const NAMED_LIMIT: Span = Span::secs(5);

/// The tool.
pub struct EcrLogin;

/// Runs this process as what its name says: the tool, or a credential helper of Docker.
#[must_use]
pub fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let Some(called) = helper::called_as(args.next().as_ref()) else {
        return slipway_shell::main::<EcrLogin>();
    };
    let args: Vec<_> = args.collect();
    slipway_shell::speak::<EcrLogin>(async |options, ui| {
        helper::serve(called, &args, options, ui).await
    })
}

impl Tool for EcrLogin {
    const NAME: &'static str = "ecrlogin";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    type Options = Options;

    fn works_after_errors(given: &Options) -> bool {
        // What a pipe leaves in Docker's configuration has to go when the pipe fails, too.
        given.command == Command::Logout
    }

    async fn run(
        options: Options,
        document: &mut Document,
        context: &Context,
    ) -> Result<(), Failure> {
        if options.command != Command::Login && context.on_terminal && !context.has_input.get() {
            // What was done is told; a document would have nothing in it.
            for text in [&context.text, &context.otherwise] {
                // Set once, before anything else: it cannot be set already.
                let _ = text.set(String::new());
            }
        }
        match options.command {
            Command::Login => log_in(options, document, context).await,
            Command::Logout => {
                let doing = || "logging Docker out".to_owned();
                let work = logins::remove(&options, document, context);
                within(options.timeout, doing, work).await
            }
            Command::InstallHelper => install::install(&options, document, context).await,
            Command::RemoveHelper => Ok(install::remove(&options, context).await?),
        }
    }
}

async fn log_in(
    options: Options,
    document: &mut Document,
    context: &Context,
) -> Result<(), Failure> {
    if let Some(text) = format::failed(options.format) {
        // Set once, before anything else: it cannot be set already.
        let _ = context.otherwise.set(text.to_owned());
    }
    let before: Registry = document.get()?.unwrap_or_default();
    let image: Option<Image> = document.get()?;
    let repository = repository(&options, &before, image.as_ref())?;
    let wanted = wanted::wanted(&options, Named::of(document, &before)?)?;
    check(&options, &wanted, context)?;
    Role::check_none(&options)?;
    let wish = Wish::read(&options).map_err(Error::from)?;

    let login = Login::new(&options);
    within(options.timeout, || login.last_doing(), async {
        let wish = (repository, &wish);
        let (registry, token) = registry(&options, &before, wish, wanted, &login, context).await?;
        match format::text(options.format, &token) {
            Some(text) => {
                let _ = context.text.set(text);
            }
            None => document.set(&registry),
        }
        if options.logs_docker_in() {
            login.doing("logging Docker in".to_owned());
            logins::add(&options, &registry, context).await?;
        }
        Ok(())
    })
    .await
}

/// Ends the work at the deadline.
async fn within(
    limit: Span,
    doing: impl FnOnce() -> String,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    // Boxed, since futures nest deeper here than the compiler follows.
    match tokio::time::timeout(limit.0, Box::pin(work)).await {
        Ok(result) => result,
        Err(_) => Err(Error::Deadline { limit, doing: doing() }.into()),
    }
}

/// Refuses what cannot be printed before anybody is asked.
fn check(options: &Options, wanted: &Wanted, context: &Context) -> Result<(), Error> {
    let format = options.format.name();
    if options.format == Format::Document {
        return Ok(());
    }
    if wanted.asked.len() > 1 {
        return Err(Error::OneOnly { format, count: wanted.asked.len() });
    }
    if context.secrets { Ok(()) } else { Err(Error::NotAPipe { format }) }
}

/// The repository that the document is to name, and to make sure of if that was asked for.
fn repository(
    options: &Options,
    before: &Registry,
    image: Option<&Image>,
) -> Result<Option<String>, Error> {
    let given = options.repository.clone();
    if let Some(name) = &given {
        repository::check_name(name).map_err(Error::from)?;
    }
    if !options.ensure_repository {
        return Ok(given.or_else(|| before.repository.clone()));
    }
    let built = image.and_then(|image| image.name.clone());
    given.or(built).or_else(|| before.repository.clone()).map(Some).ok_or(Error::RepositoryUnnamed)
}

/// The section of the document, and the token of the image's registry.
async fn registry(
    options: &Options,
    before: &Registry,
    (repository, wish): (Option<String>, &Wish),
    wanted: Wanted,
    login: &Login,
    context: &Context,
) -> Result<(Registry, Token), Error> {
    let step = context.ui.step(format!("asking Amazon ECR for credentials{}", place(&wanted)));
    let tokens = tokens(options, before, &wanted, login, context).await?;
    let (first, others) = distinct(tokens).ok_or(Error::BadToken { reason: "nobody was asked" })?;
    let now = Timestamp::now();
    let doubt = |token| validity::warning(token, options.min_validity, now);
    login.warnings().for_each(|text| context.ui.warn(&text));
    // One word about a clock is enough.
    if login.clock.warning().is_none()
        && let Some(text) = std::iter::once(&first).chain(&others).find_map(doubt)
    {
        context.ui.warn(&text);
    }
    let mut registry = first.registry();
    registry.others = others.iter().map(Token::other).collect();
    if options.ensure_repository
        && let Some(name) = &repository
        && let Some(own) = wanted.asked.first()
    {
        let care = ensure(name, own, wish, &first, login).await?;
        for (warning, line) in care.lines(name) {
            if warning { context.ui.warn(&line) } else { context.ui.say(&line) }
        }
        registry.repository_created = Some(care.created);
        registry.repository_differences = Some(care.differences);
    }
    if registry.repository_created.is_none() && repository == before.repository {
        // A fresh token for a saved document takes nothing from what is known of the repository.
        registry.repository_created = before.repository_created;
        registry.repository_differences.clone_from(&before.repository_differences);
    }
    registry.repository = repository;
    let others: String = others.iter().map(|other| format!(", {}", other.host)).collect();
    step.done(&format!(
        "{}{others}, {}, with credentials from {}",
        first.host,
        validity::told(first.expires_at, now),
        first.source
    ));
    Ok((registry, first))
}

fn place(wanted: &Wanted) -> String {
    let region = wanted.asked.first().and_then(|target| target.region.as_deref());
    region.map(|region| format!(" in {region}")).unwrap_or_default()
}

/// The tokens, that of the image's registry first. One that was asked for has to come; of those that
/// the document only names a word is enough.
async fn tokens(
    options: &Options,
    before: &Registry,
    wanted: &Wanted,
    login: &Login,
    context: &Context,
) -> Result<Vec<Token>, Error> {
    let one = async |target: &Target| match validity::kept(before, target, options.min_validity) {
        Some(token) => Ok(token),
        None if options.cache == Some(true) => {
            let at_least = options.min_validity.map(|least| least.0).unwrap_or_default();
            Cache::open(&context.ui).token(target, login, options, at_least).await
        }
        None => token::fetch(target, login).await,
    };
    // The credentials are looked for by the first, and the others wait for that.
    let asked = join_all(wanted.asked.iter().map(&one)).await;
    let mut tokens = asked.into_iter().collect::<Result<Vec<_>, _>>()?;
    if options.format == Format::Document {
        let named = async |target: &Target| {
            let host = target.host.as_deref().unwrap_or_default();
            let why = match tokio::time::timeout(NAMED_LIMIT.0, one(target)).await {
                Ok(Ok(token)) => return Some(token),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {NAMED_LIMIT}"),
            };
            context.ui.warn(&format!("no token for {host}, which the document names: {why}"));
            None
        };
        tokens.extend(join_all(wanted.named.iter().map(named)).await.into_iter().flatten());
    }
    Ok(tokens)
}

/// The first, and the others by host: who asks for the caller's own registry does not know that it
/// is one of those that were named.
fn distinct(tokens: Vec<Token>) -> Option<(Token, Vec<Token>)> {
    let mut tokens = tokens.into_iter();
    let first = tokens.next()?;
    let mut others: Vec<Token> = Vec::new();
    for token in tokens {
        if token.host != first.host && !others.iter().any(|other| other.host == token.host) {
            others.push(token);
        }
    }
    Some((first, others))
}

async fn ensure(
    name: &str,
    own: &Target,
    wish: &Wish,
    token: &Token,
    login: &Login,
) -> Result<Care, Error> {
    if own.public {
        return Err(Error::PublicRepository { host: token.host.clone() });
    }
    let (client, region) = login.client(own).await?;
    login.doing(format!("making sure of the repository {name}"));
    let account = own.account.clone();
    login.explained(repository::ensure(&client, &region, name, account, wish).await)
}
