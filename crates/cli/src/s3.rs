//! `s3://BUCKET/PREFIX`, as a source and as a destination: where that is, and who asks for it.

use crate::args::{Get, S3Style};
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials as Given;
use aws_credential_types::provider::ProvideCredentials;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use windrow_engine::Plan;
use windrow_engine::pipeline::{NamesFrom, Remote, Server, Signing, Source};
use windrow_engine::source::Api;
use windrow_engine::source::bucket::Bucket;
use windrow_engine::source::inventory::{Inventory, Whereabouts};
use windrow_engine::wire::sigv4::{Credentials, Identity};
use windrow_model::Error;
use windrow_model::limits::LISTING_WIDTH;
use windrow_model::url::Url;

/// Credentials are renewed so long before they expire.
const EARLY: Duration = Duration::from_secs(5 * 60);

/// Between two attempts to renew them, when one failed.
const AGAIN: Duration = Duration::from_secs(20);

/// What no service says: where a region is needed and none is known.
const REGION: &str = "us-east-1";

/// Where a bucket is, and how requests to it are signed.
struct Place {
    url: Url,
    /// The service, without the bucket.
    service: Url,
    bucket: String,
    /// What stands behind the bucket.
    rest: String,
    in_path: bool,
    signing: Option<Signing>,
}

/// How to get there.
struct Way<'a> {
    endpoint: Option<(&'static str, String)>,
    region: Option<&'a str>,
    profile: Option<&'a str>,
    no_sign_request: bool,
    style: S3Style,
}

impl Place {
    fn find(address: &str, way: Way<'_>) -> Result<Self, Error> {
        let rest = address.strip_prefix("s3://").unwrap_or(address);
        let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_bucket(name) {
            return Err(Error::usage(address, "not a bucket")
                .hint("s3://BUCKET or s3://BUCKET/PREFIX, as in s3://photos/2024/"));
        }
        let (identity, found) = match way.no_sign_request {
            true => (None, None),
            false => {
                let (identity, region) = identity(way.profile, way.region)?;
                (Some(identity), region)
            }
        };
        let region = way.region.map(str::to_owned).or(found).unwrap_or_else(|| REGION.to_owned());
        let style = match (way.style, &way.endpoint) {
            (S3Style::Auto, Some(_)) => S3Style::Path,
            // With a dot in it no certificate fits.
            (S3Style::Auto, None) if name.contains('.') => S3Style::Path,
            (S3Style::Auto, None) => S3Style::Virtual,
            (style, _) => style,
        };
        let (flag, base) = way
            .endpoint
            .unwrap_or_else(|| ("--endpoint-url", format!("https://s3.{region}.amazonaws.com")));
        let address = match (style, base.split_once("://")) {
            (S3Style::Virtual, Some((scheme, host))) => format!("{scheme}://{name}.{host}"),
            _ => base.clone(),
        };
        let parse = |address: &str| {
            Url::parse(address).map_err(|why| {
                Error::usage(format!("{flag} {base}"), "not the address of a service")
                    .why(why)
                    .hint("as in http://localhost:9000")
            })
        };
        let (url, service) = (parse(&address)?, parse(&base)?);
        let signing = identity.map(|identity| Signing { identity, region });
        let in_path = style == S3Style::Path;
        Ok(Self { url, service, bucket: name.to_owned(), rest: rest.to_owned(), in_path, signing })
    }
}

fn is_bucket(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !name.is_empty() && name.bytes().all(plain)
}

/// A plan for a bucket.
pub(crate) fn plan(args: &Get, source: &str) -> Result<Plan, Error> {
    let own = &args.s3;
    let way = Way {
        endpoint: own.endpoint().map(|url| ("--endpoint-url", url)),
        region: own.region.as_deref(),
        profile: own.profile.as_deref(),
        no_sign_request: own.no_sign_request,
        style: own.style(),
    };
    let Place { url, service, bucket, rest, in_path, signing } = Place::find(source, way)?;
    let bucket = Bucket {
        name: bucket,
        prefix: rest,
        start_after: own.start_after.clone(),
        in_path,
        version_1: own.list_objects_v1,
        width: own.list_concurrency.unwrap_or(LISTING_WIDTH),
        filter: own.filter()?,
    };
    let api = Api { get_path: format!("{}/{{+name}}", bucket.base()), ..Api::default() };
    let names = match (&own.keys, &own.inventory) {
        (Some(keys), _) => NamesFrom::Keys(keys.clone()),
        (None, Some(manifest)) => {
            NamesFrom::Inventory(Inventory { manifest: whereabouts(manifest)?, service })
        }
        (None, None) => NamesFrom::Listing,
    };
    let server = Server { url, api, names, bucket: Some(bucket), signing };
    let mut plan = Plan::new(Source::Server(Box::new(server)), &args.output, args.format.into());
    if own.request_payer {
        plan.headers.push(("x-amz-request-payer".to_owned(), "requester".to_owned()));
    }
    Ok(plan)
}

/// Where the manifest of an inventory is.
fn whereabouts(text: &str) -> Result<Whereabouts, Error> {
    let Some(rest) = text.strip_prefix("s3://") else {
        return Ok(Whereabouts::File(text.into()));
    };
    match rest.split_once('/') {
        Some((bucket, key)) if is_bucket(bucket) && !key.is_empty() => {
            Ok(Whereabouts::Object { bucket: bucket.to_owned(), key: key.to_owned() })
        }
        _ => Err(Error::usage(format!("--inventory {text}"), "not the address of a manifest")
            .hint("a file, or s3://BUCKET/.../manifest.json")),
    }
}

/// Sends what a plan fetches to a bucket, where `-o` names one.
pub(crate) fn send(args: &Get, plan: &mut Plan) -> Result<(), Error> {
    let own = &args.dest;
    let Some(output) = args.output.to_str().filter(|output| output.starts_with("s3://")) else {
        return match &own.job {
            Some(_) => Err(Error::usage("--job", "DEST is a directory")
                .hint("the state of the run lies in DEST/.windrow; leave --job out")),
            None => Ok(()),
        };
    };
    let Some(job) = &own.job else {
        return Err(Error::usage(output, "where is the state of the run to lie?")
            .hint("--job DIR names a directory for it; the same line again goes on with the run"));
    };
    if plan.format == windrow_engine::Format::Null {
        return Err(Error::usage("--format null", "writes nothing into a bucket"));
    }
    let from = &args.s3;
    let endpoint = own.dest_endpoint_url.clone().map(|url| ("--dest-endpoint-url", url));
    let way = Way {
        endpoint: endpoint.or_else(|| from.endpoint().map(|url| ("--endpoint-url", url))),
        region: own.dest_region.as_deref().or(from.region.as_deref()),
        profile: own.dest_profile.as_deref().or(from.profile.as_deref()),
        no_sign_request: own.dest_no_sign_request,
        style: from.style(),
    };
    let Place { url, bucket, mut rest, in_path, signing, .. } = Place::find(output, way)?;
    if !rest.is_empty() && !rest.ends_with('/') {
        rest.push('/');
    }
    plan.dest.clone_from(job);
    plan.remote = Some(Remote {
        url,
        bucket,
        in_path,
        prefix: rest,
        signing,
        if_none_match: own.if_none_match,
        keep_metadata: own.keep_metadata,
        concurrency: own.dest_concurrency,
    });
    Ok(())
}

/// What was found, by the chain that every tool of AWS has: environment, profiles, SSO, web
/// identity, containers, instance metadata.
type Found = Result<(Arc<Identity>, Option<String>), Error>;

fn identity(profile: Option<&str>, region: Option<&str>) -> Found {
    let (send, found) = channel();
    let (profile, region) = (profile.map(str::to_owned), region.map(str::to_owned));
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
        if let Some(identity) = of_environment(profile.as_deref(), region.as_deref()).await {
            let region = region.or_else(environment_region);
            return drop(found.send(Ok((identity, region))));
        }
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(profile) = profile {
            // Who names a profile means it, whatever the environment holds beside it.
            let own = ProfileFileCredentialsProvider::builder().profile_name(&profile).build();
            loader = loader.profile_name(profile).credentials_provider(own);
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

/// Keys and region that the environment holds are the first that the chain would find. Making the rest of it
/// ready reads the certificates of the system, which takes longer than to fetch a thousand objects.
async fn of_environment(profile: Option<&str>, region: Option<&str>) -> Option<Arc<Identity>> {
    if profile.is_some() || (region.is_none() && environment_region().is_none()) {
        return None;
    }
    let given = EnvironmentVariableCredentialsProvider::new().provide_credentials().await.ok()?;
    Some(Arc::new(Identity::new(own_form(&given))))
}

fn environment_region() -> Option<String> {
    let named = |name| std::env::var(name).ok().filter(|region| !region.is_empty());
    named("AWS_REGION").or_else(|| named("AWS_DEFAULT_REGION"))
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
