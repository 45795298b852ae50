# The stack of template.yaml in Terraform. ../../test_stack.py compares both, resource by resource and statement by statement.
# variables.tf has the template's parameters; these two variables are what CloudFormation knows by itself.

variable "stack_name" {
  description = "Name of the stack. The names of its functions and other resources begin with it, and its metrics have it as the dimension Stack."
  type        = string
  default     = "turntable"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9-]{0,40}$", var.stack_name))
    error_message = "The name must begin with a letter and have at most 41 letters, digits and hyphens."
  }
}

variable "release" {
  description = "Folder with the zips of a release, such as export-arm64.zip and flip-arm64.zip."
  type        = string
}

data "aws_partition" "this" {}

data "aws_region" "this" {}

data "aws_caller_identity" "this" {}

locals {
  partition = data.aws_partition.this.partition
  region    = data.aws_region.this.name
  account   = data.aws_caller_identity.this.account_id
  place     = "${local.region}:${local.account}"

  # The optional parts of the stack.
  has_key       = var.kms_key_arn != ""
  has_boundary  = var.permissions_boundary_arn != ""
  has_subnets   = length(var.subnet_ids) > 0
  has_engines   = length(var.engine_workgroups) > 0
  has_versions  = var.version_days > 0
  names_results = var.athena_results == "BUCKET"

  # Terraform's null omits an argument.
  key      = local.has_key ? var.kms_key_arn : null
  boundary = local.has_boundary ? var.permissions_boundary_arn : null
}
