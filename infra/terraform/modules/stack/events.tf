# What starts the functions. The first word of each key is the function.

locals {
  schedules = {
    export_daily = {
      name       = "daily"
      function   = "export"
      expression = var.schedule
      timezone   = var.schedule_timezone
      input      = {}
      retries    = 5
      max_age    = 3600
    }
    # Asks which datasets have become due by the `refresh` in datasets.toml.
    export_tick = {
      name       = "tick"
      function   = "export"
      expression = "rate(1 minute)"
      timezone   = "UTC"
      input      = { action = "tick" }
      retries    = 0 # The next tick makes up for it.
      max_age    = null
    }
    optout_schedule = {
      name       = "optout"
      function   = "optout"
      expression = var.optout_schedule
      timezone   = var.schedule_timezone
      input      = {}
      retries    = 0 # The next scheduled run processes everything.
      max_age    = null
    }
    sweep_hourly = {
      name       = "sweep"
      function   = "sweep"
      expression = var.sweep_schedule
      timezone   = var.schedule_timezone
      input      = {}
      retries    = 5
      max_age    = 3600
    }
  }

  rules = {
    # The record of each flip. If the event is lost, sweep makes up for it.
    export_flipped = {
      description = null
      function    = "export"
      queue       = null
      retries     = 185
      max_age     = 86400
      pattern = {
        source      = ["aws.s3"]
        detail-type = ["Object Created"]
        detail = {
          bucket = { name = [var.bucket_name] }
          object = { key = [{ wildcard = "*/_flips/*.json" }] }
        }
      }
    }
    export_puts = {
      description = "Sends an event to the put queue for each object with the prefix of puts."
      function    = "export"
      queue       = "put"
      retries     = 185
      max_age     = 86400
      pattern = {
        source      = ["aws.s3"]
        detail-type = ["Object Created"]
        detail = {
          bucket = { name = [var.bucket_name] }
          object = { key = [{ prefix = var.put_prefix }] }
        }
      }
    }
    export_source_puts = {
      description = "Sends an event to the put queue for each object in the buckets of puts."
      function    = "export"
      queue       = "put"
      retries     = 185
      max_age     = 86400
      pattern = {
        source      = ["aws.s3"]
        detail-type = ["Object Created"]
        detail      = { bucket = { name = length(var.put_buckets) > 0 ? var.put_buckets : [""] } } # Matches nothing.
      }
    }
    # AWS delivers it at best effort. If it is lost, sweep queues a check of the run.
    export_query_ended = {
      description = null
      function    = "export"
      queue       = null
      retries     = 185
      max_age     = 86400
      pattern = {
        source      = ["aws.athena"]
        detail-type = ["Athena Query State Change"]
        detail = {
          workgroupName = local.has_engines ? var.engine_workgroups : [""] # Matches nothing. A pattern can't be empty.
          currentState  = ["SUCCEEDED", "FAILED", "CANCELLED"]
          statementType = ["DML"] # UNLOAD is DML.
        }
      }
    }
    export_job_ended = {
      description = null
      function    = "export"
      queue       = null
      retries     = 185
      max_age     = 86400
      pattern = {
        source      = ["aws.glue"]
        detail-type = ["Glue Job State Change"]
        detail = {
          jobName = length(var.glue_jobs) > 0 ? var.glue_jobs : [""]
          state   = ["SUCCEEDED", "FAILED", "TIMEOUT", "STOPPED"]
        }
      }
    }
    flip_manifest = {
      description = null
      function    = "flip"
      queue       = null
      retries     = 185
      max_age     = 86400
      pattern = {
        source      = ["aws.s3"]
        detail-type = ["Object Created"]
        detail = {
          bucket = { name = [var.bucket_name] }
          object = { key = [{ wildcard = "*/_manifests/*.json" }] }
        }
      }
    }
    # Matches every table in the account. Flip checks for drift; so does sweep, in case the event is lost.
    flip_table_changed = {
      description = null
      function    = "flip"
      queue       = null
      retries     = 5
      max_age     = 3600
      pattern = {
        source      = ["aws.glue"]
        detail-type = ["Glue Data Catalog Table State Change"]
        detail      = { typeOfChange = ["UpdateTable"] } # Deleting a table is an event of its database. Sweep finds a deleted table.
      }
    }
    optout_drops = {
      description = "Sends an event to the opt-out queue for each object that is created in an inbox."
      function    = "optout"
      queue       = "optout"
      retries     = 185
      max_age     = 86400
      pattern = {
        source      = ["aws.s3"]
        detail-type = ["Object Created"]
        detail = {
          bucket = { name = [var.bucket_name] }
          object = { key = [{ prefix = var.inbox_prefix }] } # Includes `_rejected/`, whose events the function ignores.
        }
      }
    }
  }
}

resource "aws_scheduler_schedule" "this" {
  #checkov:skip=CKV_AWS_297:The input is no secret.
  for_each = local.schedules

  name                         = "${var.stack_name}-${each.value.name}"
  schedule_expression          = each.value.expression
  schedule_expression_timezone = each.value.timezone
  state                        = var.schedule_state

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.this[each.value.function].arn
    role_arn = aws_iam_role.schedule[each.key].arn
    input    = jsonencode(each.value.input)

    retry_policy {
      maximum_retry_attempts       = each.value.retries
      maximum_event_age_in_seconds = each.value.max_age
    }

    dead_letter_config {
      arn = aws_sqs_queue.dead_letters[each.value.function].arn
    }
  }

  depends_on = [aws_iam_role_policy.schedule]
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local.rules

  name          = "${var.stack_name}-${replace(each.key, "_", "-")}"
  description   = each.value.description
  event_pattern = jsonencode(each.value.pattern)
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = local.rules

  rule = aws_cloudwatch_event_rule.this[each.key].name
  arn  = each.value.queue != null ? aws_sqs_queue.work[each.value.queue].arn : aws_lambda_function.this[each.value.function].arn

  retry_policy {
    maximum_retry_attempts       = each.value.retries
    maximum_event_age_in_seconds = each.value.max_age
  }

  dead_letter_config {
    arn = aws_sqs_queue.dead_letters[each.value.function].arn
  }
}

resource "aws_lambda_permission" "rule" {
  for_each = { for key, rule in local.rules : key => rule.function if rule.queue == null }

  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this[each.value].function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.this[each.key].arn
}
