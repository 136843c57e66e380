//! Queues themselves: created, listed, configured, purged, deleted.
//!
//! A change of attributes, tags or policy is made of what the queue has, and refused by its home when that has changed
//! meanwhile; then it is made again. Start at [`Door::create`].

use std::borrow::Cow;

use hub::Page;
use hub::queue::{Answer, QueueCommand, QueueName, QueueRefusal, QueueView};
use wire::sqs::{
    AddPermission, CreateQueue, Error, ListDeadLetterSourceQueues, ListQueues, Origin, QueueArn,
    QueueAttributeSet, QueueFigures, Response, Settings, UrlPage, policy,
};

use super::caller::Caller;
use super::form::Form;
use super::refusal::About;
use super::{Door, Trouble, arn_of, name_of};

/// How often a change is made again that met another one. Beyond it: `ServiceUnavailable`, which SDKs try again.
const TRIES: usize = 16;

/// Tags of one queue. More are refused with `InvalidParameterValue`.
const TAGS_MAX: usize = 50;

impl Door {
    pub(super) async fn create(
        &self,
        caller: &Caller<'_>,
        origin: Origin<'_>,
        request: CreateQueue<'_>,
    ) -> Result<Response<'static>, Error> {
        let arn = caller.arn(&request.queue);
        let tags = request.tags.iter().map(|(key, value)| (key.as_ref(), value.as_ref()));
        self.create_as(&arn, &request.settings, tags).await?;
        Ok(Response::CreateQueue { queue_url: self.url_of(origin, &arn).into() })
    }

    /// Creates a queue, or finds it with what was set.
    pub(super) async fn create_as<'t>(
        &self,
        arn: &QueueArn,
        settings: &Settings,
        tags: impl IntoIterator<Item = (&'t str, &'t str)>,
    ) -> Result<(), Error> {
        let mut form = Form { settings: Settings::defaults(arn.kind()).changed(settings)?, tags: Vec::new() };
        form.tag(tags);
        if let Created::Before(view) = self.created(arn, &form).await?
            && let Some(attribute) = Form::of(&view).settings.first_difference(settings)
        {
            return Err(Error::queue_name_exists(attribute));
        }
        Ok(())
    }

    /// Creates a queue if there is none of its name.
    pub(super) async fn created(&self, arn: &QueueArn, form: &Form) -> Result<Created, Error> {
        let about = About { redrive_policy: form.redrive_policy(), ..About::queue(&arn.name) };
        if !form.dead_letters_stay(arn) {
            return Err(about.refusal(QueueRefusal::NoTarget));
        }
        let settings = form.to_hub(arn.kind());
        let command = |queue, token| QueueCommand::Create { queue, settings, token };
        match self.ask(&name_of(arn), command).await.map_err(|trouble| about.error(trouble))? {
            Answer::Created(_) => Ok(Created::Now),
            Answer::Exists(view) => Ok(Created::Before(view)),
            _ => Err(Error::internal()),
        }
    }

    pub(super) async fn delete(&self, queue: &QueueArn) -> Result<Response<'static>, Error> {
        let deleting = self.ask(&name_of(queue), |queue, token| QueueCommand::Delete { queue, token }).await;
        deleting.map_err(|trouble| About::queue(&queue.name).error(trouble))?;
        Ok(Response::DeleteQueue)
    }

    pub(super) async fn purge(&self, queue: &QueueArn) -> Result<Response<'static>, Error> {
        let purging = self.ask(&name_of(queue), |queue, token| QueueCommand::Purge { queue, token }).await;
        purging.map_err(|trouble| About::queue(&queue.name).error(trouble))?;
        Ok(Response::PurgeQueue)
    }

    pub(super) async fn url(&self, origin: Origin<'_>, queue: &QueueArn) -> Result<Response<'static>, Error> {
        self.view(queue).await?;
        Ok(Response::GetQueueUrl { queue_url: self.url_of(origin, queue).into() })
    }

    pub(super) async fn view(&self, queue: &QueueArn) -> Result<Box<QueueView>, Error> {
        let asked = self.ask(&name_of(queue), |queue, token| QueueCommand::Describe { queue, token }).await;
        match asked.map_err(|trouble| About::queue(&queue.name).error(trouble))? {
            Answer::View(view) => Ok(view),
            _ => Err(Error::internal()),
        }
    }

    pub(super) async fn attributes(
        &self,
        queue: &QueueArn,
        wanted: QueueAttributeSet,
    ) -> Result<Response<'static>, Error> {
        let view = self.view(queue).await?;
        let figures = QueueFigures {
            created_s: view.created.0 / 1000,
            modified_s: view.modified.0 / 1000,
            visible: view.counts.visible,
            in_flight: view.counts.in_flight,
            delayed: view.counts.delayed,
        };
        let form = Form::of(&view);
        let told = form.settings.describe(wanted, queue, &figures).into_iter();
        let told = told.map(|(attribute, value)| (attribute, Cow::Owned(value.into_owned())));
        Ok(Response::GetQueueAttributes(told.collect()))
    }

    pub(super) async fn set(&self, queue: &QueueArn, change: &Settings) -> Result<Response<'static>, Error> {
        let set = |form: &mut Form| {
            form.settings = form.settings.changed(change)?;
            Ok(())
        };
        self.change(queue, set).await?;
        Ok(Response::SetQueueAttributes)
    }

    pub(super) async fn tags(&self, queue: &QueueArn) -> Result<Response<'static>, Error> {
        let tags = Form::of(&*self.view(queue).await?).tags.into_iter();
        Ok(Response::ListQueueTags(tags.map(|(key, value)| (key.into(), value.into())).collect()))
    }

    pub(super) async fn tag(
        &self,
        queue: &QueueArn,
        tags: &[(Cow<'_, str>, Cow<'_, str>)],
    ) -> Result<Response<'static>, Error> {
        let tag = |form: &mut Form| {
            form.tag(tags.iter().map(|(key, value)| (key.as_ref(), value.as_ref())));
            if form.tags.len() > TAGS_MAX {
                let (count, reason) = (form.tags.len().to_string(), format!("Must be at most {TAGS_MAX}."));
                return Err(Error::invalid_value(&count, "Tags", &reason));
            }
            Ok(())
        };
        self.change(queue, tag).await?;
        Ok(Response::TagQueue)
    }

    pub(super) async fn untag(
        &self,
        queue: &QueueArn,
        keys: &[Cow<'_, str>],
    ) -> Result<Response<'static>, Error> {
        let untag = |form: &mut Form| {
            form.tags.retain(|(key, _)| !keys.iter().any(|gone| gone == key));
            Ok(())
        };
        self.change(queue, untag).await?;
        Ok(Response::UntagQueue)
    }

    pub(super) async fn permit(
        &self,
        queue: &QueueArn,
        permission: &AddPermission<'_>,
    ) -> Result<Response<'static>, Error> {
        let permit = |form: &mut Form| {
            let current = form.settings.get(wire::sqs::QueueAttribute::Policy);
            let policy = policy::with_permission(current, queue, permission)?;
            form.settings.set_policy(Some(policy));
            Ok(())
        };
        self.change(queue, permit).await?;
        Ok(Response::AddPermission)
    }

    pub(super) async fn forbid(&self, queue: &QueueArn, label: &str) -> Result<Response<'static>, Error> {
        let forbid = |form: &mut Form| {
            let current = form.settings.get(wire::sqs::QueueAttribute::Policy);
            let policy = policy::without_permission(current, queue, label)?;
            form.settings.set_policy(policy);
            Ok(())
        };
        self.change(queue, forbid).await?;
        Ok(Response::RemovePermission)
    }

    /// Changes a queue to what `change` makes of what it is.
    pub(super) async fn change(
        &self,
        queue: &QueueArn,
        change: impl Fn(&mut Form) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for _ in 0..TRIES {
            let view = self.view(queue).await?;
            let before = Form::of(&view);
            let mut form = before.clone();
            change(&mut form)?;
            if form == before {
                return Ok(());
            }
            let about = About { redrive_policy: form.redrive_policy(), ..About::queue(&queue.name) };
            if !form.dead_letters_stay(queue) {
                return Err(about.refusal(QueueRefusal::NoTarget));
            }
            let (settings, revision) = (form.to_hub(queue.kind()), Some(view.revision));
            let command = |queue, token| QueueCommand::Configure { queue, settings, revision, token };
            match self.ask(&name_of(queue), command).await {
                Ok(_) => return Ok(()),
                Err(Trouble::Refused(QueueRefusal::Conflict)) => {}
                Err(trouble) => return Err(about.error(trouble)),
            }
        }
        Err(Error::unavailable())
    }

    pub(super) async fn list<'a>(
        &self,
        caller: &Caller<'_>,
        origin: Origin<'_>,
        request: ListQueues<'a>,
    ) -> Result<Response<'a>, Error> {
        let base = QueueArn {
            region: caller.region.clone(),
            account: caller.account.clone(),
            name: request.name_prefix.into_owned(),
        };
        let prefix = name_of(&base).as_str().to_owned();
        let command = |after: Option<QueueName>, limit, token| QueueCommand::List {
            prefix: prefix.clone(),
            after,
            limit,
            token,
        };
        let page = self.pages(caller, &base, &request.page, command).await?;
        Ok(Response::ListQueues(self.url_page(origin, page)))
    }

    pub(super) async fn sources<'a>(
        &self,
        caller: &Caller<'_>,
        origin: Origin<'_>,
        request: ListDeadLetterSourceQueues<'a>,
    ) -> Result<Response<'a>, Error> {
        let target = caller.arn(&request.queue);
        self.view(&target).await?;
        let name = name_of(&target);
        let command = |after: Option<QueueName>, limit, token| QueueCommand::Sources {
            target: name.clone(),
            after,
            limit,
            token,
        };
        let page = self.pages(caller, &target, &request.page, command).await?;
        Ok(Response::ListDeadLetterSourceQueues(self.url_page(origin, page)))
    }

    /// A page of names out of all shards, of those that the caller may see. `base` has account and region of the token.
    async fn pages(
        &self,
        caller: &Caller<'_>,
        base: &QueueArn,
        page: &wire::sqs::Page,
        command: impl Fn(Option<QueueName>, u32, hub::Token) -> QueueCommand,
    ) -> Result<Page<QueueArn>, Error> {
        let limit = page.limit();
        let named = |name: &String| name_of(&QueueArn { name: name.clone(), ..base.clone() });
        let mut after = page.after.as_ref().map(named);
        let mut items: Vec<QueueArn> = Vec::new();
        loop {
            let some = self.page(after.take(), limit, &command).await?;
            after = some.items.last().cloned();
            let seen = some.items.iter().filter_map(arn_of).filter(|arn| caller.sees(&arn.name));
            items.extend(seen);
            let is_over = items.len() > limit;
            if is_over || !some.more || after.is_none() {
                let more = page.max.is_some() && (is_over || some.more && items.len() >= limit);
                items.truncate(limit);
                return Ok(Page { items, more });
            }
            if items.len() == limit && page.max.is_some() {
                return Ok(Page { items, more: true });
            }
        }
    }

    /// The first so many names behind `after`, out of all shards.
    async fn page(
        &self,
        after: Option<QueueName>,
        limit: usize,
        command: impl Fn(Option<QueueName>, u32, hub::Token) -> QueueCommand,
    ) -> Result<Page<QueueName>, Error> {
        let (mut items, mut more) = (Vec::new(), false);
        for shard in self.office.shards() {
            let limit = u32::try_from(limit).unwrap_or(u32::MAX);
            let asked = self.ask_shard(shard, |token| command(after.clone(), limit, token)).await;
            let (names, has_more) = match asked.map_err(|trouble| About::default().error(trouble))? {
                Answer::Page(page) => (page.items.into_iter().map(|view| view.name).collect(), page.more),
                Answer::Names(page) => (page.items, page.more),
                _ => (Vec::new(), false),
            };
            items.extend(names);
            more |= has_more;
        }
        items.sort();
        more |= items.len() > limit;
        items.truncate(limit);
        Ok(Page { items, more })
    }

    fn url_page(&self, origin: Origin<'_>, page: Page<QueueArn>) -> UrlPage<'static> {
        let last = page.items.last().filter(|_| page.more);
        let more_after = last.map(|last| Cow::Owned(last.name.clone()));
        let urls = page.items.iter().map(|queue| Cow::Owned(self.url_of(origin, queue)));
        UrlPage { queue_urls: urls.collect(), more_after }
    }
}

/// What became of the wish to create a queue.
pub(super) enum Created {
    /// It is new.
    Now,
    /// It was there.
    Before(Box<QueueView>),
}
