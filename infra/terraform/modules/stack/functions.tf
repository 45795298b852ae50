locals {
  # Where Athena puts the results of queries.
  output = local.names_results ? { ATHENA_OUTPUT = "s3://${var.bucket_name}/_athena/" } : {}

  functions = {
    export = {
      description     = "Builds a generation of one dataset, or queues every dataset for export."
      memory          = var.export_memory
      timeout         = 900
      concurrency     = null
      reads_databases = true
      variables = merge(local.output, {
        QUEUE_URL        = aws_sqs_queue.work["export"].url
        DEAD_LETTERS_URL = aws_sqs_queue.dead_letters["export"].url
        MALLOC_ARENA_MAX = "2" # glibc's default of 8 arenas per core needs a quarter more memory.
      })
    }
    flip = {
      description     = "Audits a generation and makes it live."
      memory          = 512
      timeout         = 900 # Allows Athena 6 minutes for the checks and 6 for the canary.
      concurrency     = var.flip_reserved_concurrency
      reads_databases = false
      variables = merge(local.output, {
        ATHENA_WORKGROUP = var.athena_workgroup
        CHECKS_ROLE      = aws_iam_role.checks.arn
        DEAD_LETTER_URLS = join(" ", [for name, queue in aws_sqs_queue.dead_letters : "${name}=${queue.url}"])
      })
    }
    optout = {
      description     = "Merges all unread drops into the opt-out table and flips it."
      memory          = 3008 # For the CPU share: buckets are merged in parallel. New accounts are limited to 3008.
      timeout         = 300
      concurrency     = var.optout_reserved_concurrency
      reads_databases = true # For `reconcile`.
      variables       = merge(local.output, { ATHENA_WORKGROUP = var.athena_workgroup })
    }
    sweep = {
      description     = "Deletes unreachable generations."
      memory          = 1024 # Enough to list a million objects.
      timeout         = 900
      concurrency     = null
      reads_databases = false
      variables = {
        QUEUE_URL        = aws_sqs_queue.work["export"].url # For checks of engine runs whose end event never arrived.
        DEAD_LETTERS_URL = aws_sqs_queue.dead_letters["export"].url
        LIVE_AGE_SECONDS = tostring(var.live_age_seconds)
      }
    }
  }
  function_names = ["export", "flip", "optout", "sweep"]
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_50:The variable tracing turns X-Ray on.
  #checkov:skip=CKV_AWS_115:Reservations take concurrency from the account's other functions, so they are optional.
  #checkov:skip=CKV_AWS_116:aws_lambda_function_event_invoke_config.this sends failures to a queue together with their cause.
  #checkov:skip=CKV_AWS_117:Only the functions that read databases need a VPC, and only if the databases are in one.
  #checkov:skip=CKV_AWS_173:The variables are names, not secrets.
  #checkov:skip=CKV_AWS_272:A release has checksums and an attestation: see docs/deploy.md.
  for_each = local.functions

  function_name                  = "${var.stack_name}-${each.key}"
  description                    = each.value.description
  filename                       = "${var.release}/${each.key}-${var.architecture}.zip"
  source_code_hash               = filebase64sha256("${var.release}/${each.key}-${var.architecture}.zip")
  runtime                        = "provided.al2023"
  handler                        = "bootstrap"
  architectures                  = [var.architecture]
  memory_size                    = each.value.memory
  timeout                        = each.value.timeout
  reserved_concurrent_executions = each.value.concurrency
  role                           = aws_iam_role.function[each.key].arn
  layers                         = each.value.reads_databases ? var.layers : []

  environment {
    variables = merge(each.value.variables, {
      DATASETS        = "s3://${var.bucket_name}/${var.datasets_key}"
      INBOXES         = "s3://${var.bucket_name}/${var.inbox_prefix}"
      STACK           = var.stack_name # The dimension Stack of every metric.
      DATASET_METRICS = tostring(var.dataset_metrics)
      BUCKET_OWNER    = local.account # S3 refuses a request if the bucket belongs to another account.
      BUCKET_OWNERS   = var.bucket_owners
    })
  }

  # The function reads it from AWS_LAMBDA_LOG_FORMAT and AWS_LAMBDA_LOG_LEVEL.
  logging_config {
    log_format            = "JSON"
    application_log_level = var.log_level
    log_group             = aws_cloudwatch_log_group.this[each.key].name
  }

  tracing_config {
    mode = var.tracing
  }

  dynamic "vpc_config" {
    for_each = local.has_subnets && each.value.reads_databases ? [0] : []

    content {
      subnet_ids         = var.subnet_ids
      security_group_ids = var.security_group_ids
    }
  }

  depends_on = [aws_iam_role_policy.own, aws_iam_role_policy.shared]
}

# Operators invoke this alias, and events the function itself, which refuses all that operators decide.
# CloudTrail's data events say who asked.
resource "aws_lambda_alias" "operator" {
  for_each = toset(["flip", "optout"])

  name             = "operator"
  description      = "For operators' requests. See docs/deploy.md#people-and-applications-outside-the-stack."
  function_name    = aws_lambda_function.this[each.key].function_name
  function_version = "$LATEST"
}

# For schedules and rules, which invoke asynchronously.
resource "aws_lambda_function_event_invoke_config" "this" {
  for_each = aws_lambda_function.this

  function_name          = each.value.function_name
  qualifier              = "$LATEST"
  maximum_retry_attempts = 2

  destination_config {
    on_failure {
      destination = aws_sqs_queue.dead_letters[each.key].arn
    }
  }
}

resource "aws_lambda_event_source_mapping" "queue" {
  for_each = local.queues

  event_source_arn        = aws_sqs_queue.work[each.key].arn
  function_name           = aws_lambda_function.this[each.value.function].function_name
  batch_size              = each.value.batch
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = each.value.concurrency
  }
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_158:Encrypted with kms_key_arn or with CloudWatch's own key. Logs contain names and counts, never rows.
  #checkov:skip=CKV_AWS_338:The variable log_retention_days decides.
  for_each = toset(local.function_names)

  name              = "/aws/lambda/${var.stack_name}-${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.key
}
