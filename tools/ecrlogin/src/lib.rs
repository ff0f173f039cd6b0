//! Gets registry credentials from Amazon ECR.
