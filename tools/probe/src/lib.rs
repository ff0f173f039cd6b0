//! One HTTP or TCP probe of a service, and the judgement of its answer.
