//! A chain of transforms, and what a thread keeps while it runs one.

use super::drop_if::DropIf;
use super::exec::{Exec, Worker};
use super::image::Resize;
use super::spec::Spec;
use super::unpack::unpack;
use super::verify::Verify;
use super::{Failed, Object, Outcome};
use crate::content;
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use windrow_model::Error;
use windrow_model::limits::{OBJECT_BYTES, TRANSFORM_STEPS, TRANSFORM_TIMEOUT};

/// Transforms in a row. Cheap to clone; shared by threads.
///
/// ```
/// use windrow_engine::transform::{Chain, Lane, Object, Outcome};
///
/// // A function of one's own behind one that is built in.
/// let chain = Chain::parse(&["gunzip".to_owned()])?.then(Chain::of("upper", |mut object| {
///     if object.body.is_empty() {
///         return Ok(Outcome::Drop);
///     }
///     let text = std::str::from_utf8(&object.body)?; // an error fails this object
///     object.body = text.to_uppercase().into_bytes();
///     Ok(Outcome::Keep(object))
/// }));
/// assert_eq!(chain.describe(), r#"["gunzip","fn(upper)"]"#);
///
/// let mut lane = Lane::default();
/// let object = Object { body: b"not gzip".to_vec(), ..Object::default() };
/// assert!(chain.apply(object, &mut lane).is_err());
/// # Ok::<(), windrow_model::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Chain {
    steps: Vec<Step>,
}

/// One transform.
#[derive(Clone)]
pub(super) enum Step {
    Verify(Verify),
    Unpack(content::Coding),
    Resize(Arc<Resize>),
    Exec(Arc<Exec>),
    DropIf(Arc<DropIf>),
    Own(Arc<str>, Arc<Own>),
}

type Own = dyn Fn(Object) -> Result<Outcome, Failed> + Send + Sync;

/// What a transform can end with beside an outcome.
#[derive(Debug)]
pub(super) enum Trouble {
    /// This object is failed.
    Object(Failed),
    /// It would be the same for every object.
    Run(Error),
}

impl From<Failed> for Trouble {
    fn from(failed: Failed) -> Self {
        Self::Object(failed)
    }
}

impl Chain {
    /// Reads the `--transform` flags, in their order. See docs/TRANSFORMS.md for what they can say.
    ///
    /// # Errors
    /// A usage error for what cannot be understood, with a hint; one of the environment for a command
    /// that is not there.
    pub fn parse(specs: &[String]) -> Result<Self, Error> {
        let mut chain = Self::default();
        for text in specs {
            chain.push(Step::read(text)?)?;
        }
        let columns = chain.steps.iter().filter_map(Step::column);
        let mut columns: Vec<&str> = columns.collect();
        columns.dedup();
        match columns[..] {
            [one, two, ..] => Err(Error::usage("--transform", "verify names two columns")
                .why(format!("`{one}` and `{two}`"))
                .hint("a body is compared with one column of the list")),
            _ => Ok(chain),
        }
    }

    /// A function as a chain of one. What it panics with fails the object. `name` stands in
    /// [`Chain::describe`]: give it another one when the function does something else.
    pub fn of(
        name: &str,
        function: impl Fn(Object) -> Result<Outcome, Failed> + Send + Sync + 'static,
    ) -> Self {
        Self { steps: vec![Step::Own(name.into(), Arc::new(function))] }
    }

    /// This chain, and then another.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self
    }

    fn push(&mut self, step: Step) -> Result<(), Error> {
        if self.steps.len() == TRANSFORM_STEPS {
            return Err(Error::usage("--transform", "there are too many")
                .why(format!("at most {TRANSFORM_STEPS} make a chain")));
        }
        self.steps.push(step);
        Ok(())
    }

    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The chain in one form, defaults written out: a JSON array of the transforms. Two chains with
    /// the same description do the same, so that it can tell whether a run may be resumed.
    pub fn describe(&self) -> String {
        let steps: Vec<String> = self.steps.iter().map(Step::to_string).collect();
        serde_json::Value::from(steps).to_string()
    }

    /// The list's column that a `verify=sha256:COL` wants in [`Object::expected_sha256`].
    pub fn wants_sha256_column(&self) -> Option<&str> {
        self.steps.iter().find_map(Step::column)
    }

    /// Whether some transform runs commands, which may take long without using a core.
    pub fn has_commands(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Exec(_)))
    }

    /// Runs it on this thread. A panic fails the object; a hang of anything but a command hangs here,
    /// where [`Pool`](super::Pool) would go on.
    ///
    /// # Errors
    /// What a transform failed with.
    pub fn apply(&self, object: Object, lane: &mut Lane) -> Result<Outcome, Failed> {
        self.run(object, lane).map_err(|trouble| match trouble {
            Trouble::Object(failed) => failed,
            Trouble::Run(error) => Failed::new("the transform cannot be run").why(error),
        })
    }

    /// As [`Chain::apply`], but tells what would be the same for every object.
    pub(super) fn run(&self, mut object: Object, lane: &mut Lane) -> Result<Outcome, Trouble> {
        // Kits are made anew after a panic, so that nothing half-changed is seen.
        let caught = catch_unwind(AssertUnwindSafe(|| {
            lane.begin(self);
            for (place, step) in self.steps.iter().enumerate() {
                match step.apply(object, place, lane)? {
                    Outcome::Keep(kept) => object = kept,
                    Outcome::Drop => return Ok(Outcome::Drop),
                }
            }
            Ok(Outcome::Keep(object))
        }));
        caught.unwrap_or_else(|panic| {
            lane.renew();
            Err(Failed::new("the transform panicked").why(panicked(panic.as_ref())).into())
        })
    }

    /// Starts what has to be running before the first object, to learn whether it can be run.
    pub(super) fn warm(&self, lane: &mut Lane) -> Result<(), Error> {
        lane.begin(self);
        for (place, step) in self.steps.iter().enumerate() {
            if let Step::Exec(exec) = step {
                exec.warm(&mut lane.workers[place])?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Chain").field(&self.describe()).finish()
    }
}

impl Step {
    fn read(text: &str) -> Result<Self, Error> {
        let spec = Spec::read(text)?;
        Ok(match spec.name {
            "verify" => Self::Verify(Verify::read(&spec)?),
            "gunzip" => {
                spec.bare()?;
                Self::Unpack(content::Coding::Gzip)
            }
            "zstd" => {
                spec.bare()?;
                Self::Unpack(content::Coding::Zstd)
            }
            "resize" => Self::Resize(Arc::new(Resize::read(&spec)?)),
            "exec" => Self::Exec(Arc::new(Exec::read(&spec, false)?)),
            "exec-worker" => Self::Exec(Arc::new(Exec::read(&spec, true)?)),
            "drop-if" => Self::DropIf(Arc::new(DropIf::read(&spec)?)),
            _ => return Err(spec.unknown()),
        })
    }

    fn column(&self) -> Option<&str> {
        match self {
            Self::Verify(verify) => verify.column(),
            _ => None,
        }
    }

    fn apply(&self, object: Object, place: usize, lane: &mut Lane) -> Result<Outcome, Trouble> {
        match self {
            Self::Verify(verify) => Ok(verify.apply(object, lane)?),
            Self::Unpack(coding) => Ok(unpack(*coding, object, lane)?),
            Self::Resize(resize) => Ok(resize.apply(object, lane)?),
            Self::Exec(exec) => exec.apply(object, place, lane),
            Self::DropIf(condition) => Ok(condition.apply(object)),
            Self::Own(_, own) => Ok(own(object)?),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verify(verify) => verify.fmt(f),
            Self::Unpack(content::Coding::Zstd) => f.write_str("zstd"),
            Self::Unpack(_) => f.write_str("gunzip"),
            Self::Resize(resize) => resize.fmt(f),
            Self::Exec(exec) => exec.fmt(f),
            Self::DropIf(condition) => condition.fmt(f),
            Self::Own(name, _) => write!(f, "fn({name})"),
        }
    }
}

/// What a thread keeps from one object to the next: contexts of decoders, buffers, worker processes.
/// They end with it.
pub struct Lane {
    /// Time for one object.
    pub timeout: Duration,
    /// Bytes of a result of one transform, at most.
    pub max_output: u64,
    pub(super) kept: content::Kept,
    pub(super) image: super::image::Kept,
    /// By the place in the chain.
    pub(super) workers: Vec<Option<Worker>>,
    /// When this object's time is over, where somebody looks.
    pub(super) deadline: Option<Instant>,
}

impl Default for Lane {
    fn default() -> Self {
        Self::new(TRANSFORM_TIMEOUT, OBJECT_BYTES)
    }
}

impl Lane {
    /// One with nothing kept yet.
    pub fn new(timeout: Duration, max_output: u64) -> Self {
        Self {
            timeout,
            max_output,
            kept: content::Kept::default(),
            image: super::image::Kept::default(),
            workers: Vec::new(),
            deadline: None,
        }
    }

    fn begin(&mut self, chain: &Chain) {
        // Only commands look at the clock.
        if chain.has_commands() {
            self.deadline = Instant::now().checked_add(self.timeout);
            self.workers.resize_with(chain.steps.len(), || None);
        }
    }

    fn renew(&mut self) {
        *self = Self::new(self.timeout, self.max_output);
    }
}

/// What a panic said.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> &str {
    match panic.downcast_ref::<&'static str>() {
        Some(text) => text,
        None => panic.downcast_ref::<String>().map_or("no message", String::as_str),
    }
}
