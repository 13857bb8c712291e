//! `s3://BUCKET/PREFIX`: where that is, and who asks for it.

use crate::args::{Get, S3Args, S3Style};
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials as Given;
use aws_credential_types::provider::ProvideCredentials;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use windrow_engine::Plan;
use windrow_engine::pipeline::{Server, Signing, Source};
use windrow_engine::source::Api;
use windrow_engine::source::bucket::Bucket;
use windrow_engine::wire::sigv4::{Credentials, Identity};
use windrow_model::Error;
use windrow_model::url::Url;

/// Credentials are renewed so long before they expire.
const EARLY: Duration = Duration::from_secs(5 * 60);

/// Between two attempts to renew them, when one failed.
const AGAIN: Duration = Duration::from_secs(20);

/// What no service says: where a region is needed and none is known.
const REGION: &str = "us-east-1";

/// A plan for a bucket.
pub(crate) fn plan(args: &Get, source: &str) -> Result<Plan, Error> {
    let own = &args.s3;
    let rest = source.strip_prefix("s3://").unwrap_or(source);
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err(Error::usage(source, "not a bucket")
            .hint("s3://BUCKET or s3://BUCKET/PREFIX, as in s3://photos/2024/"));
    }
    let (identity, found) = match own.no_sign_request {
        true => (None, None),
        false => {
            let (identity, region) = identity(own)?;
            (Some(identity), region)
        }
    };
    let region = own.region.clone().or(found).unwrap_or_else(|| REGION.to_owned());
    let endpoint = own.endpoint();
    let style = match (own.s3_style, &endpoint) {
        (S3Style::Auto, Some(_)) => S3Style::Path,
        // With a dot in it no certificate fits.
        (S3Style::Auto, None) if name.contains('.') => S3Style::Path,
        (S3Style::Auto, None) => S3Style::Virtual,
        (style, _) => style,
    };
    let base = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
    let address = match (style, base.split_once("://")) {
        (S3Style::Virtual, Some((scheme, host))) => format!("{scheme}://{name}.{host}"),
        _ => base.clone(),
    };
    let url = Url::parse(&address).map_err(|why| {
        Error::usage(format!("--endpoint-url {base}"), "not the address of a service")
            .why(why)
            .hint("as in http://localhost:9000")
    })?;
    let bucket = Bucket {
        name: name.to_owned(),
        prefix: prefix.to_owned(),
        start_after: own.start_after.clone(),
        in_path: style == S3Style::Path,
    };
    let api = Api { get_path: format!("{}/{{+name}}", bucket.base()), ..Api::default() };
    let signing = identity.map(|identity| Signing { identity, region });
    let server = Server {
        url,
        api,
        failed_list: None,
        keys: own.keys.clone(),
        bucket: Some(bucket),
        signing,
    };
    let mut plan = Plan::new(Source::Server(Box::new(server)), &args.output, args.format.into());
    if own.request_payer {
        plan.headers.push(("x-amz-request-payer".to_owned(), "requester".to_owned()));
    }
    Ok(plan)
}

/// What was found, by the chain that every tool of AWS has: environment, profiles, SSO, web
/// identity, containers, instance metadata.
type Found = Result<(Arc<Identity>, Option<String>), Error>;

fn identity(own: &S3Args) -> Found {
    let (send, found) = channel();
    let (profile, region) = (own.profile.clone(), own.region.clone());
    std::thread::Builder::new()
        .name("credentials".into())
        .spawn(move || keep(profile, region, &send))
        .map_err(|why| Error::environment("credentials", "cannot start a thread").why(why))?;
    found.recv().unwrap_or_else(|_| Err(Error::environment("credentials", "cannot be looked for")))
}

/// Finds credentials, and renews them for as long as somebody has them.
fn keep(profile: Option<String>, region: Option<String>, found: &Sender<Found>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(why) => {
            let error = Error::environment("credentials", "cannot be looked for").why(why);
            return drop(found.send(Err(error)));
        }
    };
    runtime.block_on(async {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(profile) = profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = region {
            loader = loader.region(Region::new(region));
        }
        let config = loader.load().await;
        let region = config.region().map(ToString::to_string);
        let none = || {
            Error::usage("credentials", "none were found").hint(
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (--profile, AWS_PROFILE), or \
                 --no-sign-request for what is public",
            )
        };
        let Some(provider) = config.credentials_provider() else {
            return drop(found.send(Err(none())));
        };
        let given = match provider.provide_credentials().await {
            Ok(given) => given,
            Err(why) => return drop(found.send(Err(none().why(chain(&why))))),
        };
        let mut expiry = given.expiry();
        let identity = Arc::new(Identity::new(own_form(&given)));
        let held = Arc::downgrade(&identity);
        if found.send(Ok((identity, region))).is_err() {
            return;
        }
        while let Some(until) = expiry {
            let left = until.duration_since(SystemTime::now()).unwrap_or_default();
            tokio::time::sleep(left.saturating_sub(EARLY).max(AGAIN)).await;
            let Some(identity) = Weak::upgrade(&held) else { return };
            if let Ok(given) = provider.provide_credentials().await {
                identity.renew(own_form(&given));
                expiry = given.expiry();
            }
        }
    });
}

fn own_form(given: &Given) -> Credentials {
    Credentials {
        access_key: given.access_key_id().to_owned(),
        secret: given.secret_access_key().to_owned(),
        token: given.session_token().map(str::to_owned),
    }
}

/// An error with what it comes from; none of it is a secret.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
