//! Tasks that move messages out of dead-letter queues.
//!
//! Start at [`Door::start_move`].

use hub::queue::{
    Answer, MoveRefusal, QueueCommand, QueueRefusal, StartTask, TaskId, TaskRecord, TaskStatus,
};
use wire::sqs::{
    Error, ErrorKind, ListMessageMoveTasks, MoveStatus, MoveTask, QueueArn, Response, StartMessageMoveTask,
    TaskHandle, Uuid,
};

use super::refusal::About;
use super::{Door, Trouble, arn_of, name_of};
use crate::back::gather::message_id;

impl Door {
    pub(super) async fn start_move(&self, request: StartMessageMoveTask) -> Result<Response<'static>, Error> {
        let StartMessageMoveTask { source, destination, per_second_max } = request;
        let task = TaskId(message_id().0);
        let (target, rate) =
            (destination.as_ref().map(name_of), u32::from(per_second_max.unwrap_or_default()));
        let command =
            |queue, token| QueueCommand::StartTask(Box::new(StartTask { queue, task, target, rate, token }));
        match self.ask(&name_of(&source), command).await {
            Ok(_) => Ok(Response::StartMessageMoveTask(handle(task, source))),
            Err(Trouble::Refused(QueueRefusal::NotFound)) => Err(Error::move_resource_missing("SourceArn")),
            Err(Trouble::Refused(QueueRefusal::NoTarget)) => {
                Err(Error::move_resource_missing("DestinationArn"))
            }
            Err(Trouble::Refused(QueueRefusal::WrongTarget)) => {
                let target = destination.map(|target| target.to_string()).unwrap_or_default();
                Err(Error::invalid_value(
                    &target,
                    "DestinationArn",
                    "It must be another queue of the same type.",
                ))
            }
            Err(trouble) => Err(About::queue(&source.name).error(trouble)),
        }
    }

    pub(super) async fn moves(&self, request: ListMessageMoveTasks) -> Result<Response<'static>, Error> {
        let tasks = self.tasks(&request.source, u32::from(request.max)).await?;
        let told = tasks.into_iter().map(|task| told(&task, &request.source));
        Ok(Response::ListMessageMoveTasks(told.collect()))
    }

    async fn tasks(&self, source: &QueueArn, limit: u32) -> Result<Vec<TaskRecord>, Error> {
        let command = |queue, token| QueueCommand::Tasks { queue, limit, token };
        match self.ask(&name_of(source), command).await {
            Ok(Answer::Tasks(tasks)) => Ok(tasks),
            Ok(_) => Err(Error::internal()),
            Err(Trouble::Refused(QueueRefusal::NotFound)) => Err(Error::move_resource_missing("SourceArn")),
            Err(trouble) => Err(About::queue(&source.name).error(trouble)),
        }
    }

    pub(super) async fn cancel_move(&self, handle: TaskHandle) -> Result<Response<'static>, Error> {
        let task = TaskId(Uuid::parse(&handle.task_id).ok_or_else(Error::move_task_missing)?.0);
        let command = |queue, token| QueueCommand::CancelTask { queue, task, token };
        match self.ask(&name_of(&handle.source), command).await {
            Ok(Answer::TaskCancelled { moved }) => Ok(Response::CancelMessageMoveTask { moved }),
            Ok(_) => Err(Error::internal()),
            Err(Trouble::Refused(QueueRefusal::NotFound)) => Err(Error::move_task_missing()),
            Err(Trouble::Refused(QueueRefusal::NoTask)) => {
                let known = self.tasks(&handle.source, u32::MAX).await?;
                let is_over = known.iter().any(|known| known.task == task);
                Err(if is_over { Error::move_task_is_not_running() } else { Error::move_task_missing() })
            }
            Err(trouble) => Err(About::queue(&handle.source.name).error(trouble)),
        }
    }
}

fn handle(task: TaskId, source: QueueArn) -> TaskHandle {
    TaskHandle { task_id: Uuid(task.0).to_string(), source }
}

fn told(task: &TaskRecord, source: &QueueArn) -> MoveTask {
    MoveTask {
        handle: handle(task.task, source.clone()),
        status: match task.status {
            TaskStatus::Running => MoveStatus::Running,
            TaskStatus::Cancelling => MoveStatus::Cancelling,
            TaskStatus::Cancelled => MoveStatus::Cancelled,
            TaskStatus::Completed => MoveStatus::Completed,
            TaskStatus::Failed(why) => MoveStatus::Failed(failure(why)),
        },
        destination: task.target.as_ref().and_then(arn_of),
        per_second_max: u16::try_from(task.rate).ok().filter(|rate| *rate > 0),
        moved: task.moved,
        to_move: task.total,
        started_ms: task.started.0,
    }
}

fn failure(why: MoveRefusal) -> ErrorKind {
    match why {
        MoveRefusal::NoTarget | MoveRefusal::NoSource => ErrorKind::QueueDoesNotExist,
        MoveRefusal::WrongKind | MoveRefusal::NotAllowed => ErrorKind::InvalidParameterValueException,
        MoveRefusal::OverLimit => ErrorKind::OverLimit,
    }
}
