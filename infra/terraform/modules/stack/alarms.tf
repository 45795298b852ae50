# Each alarm covers all datasets; the metrics also exist per dataset. Missing data means no problem.

locals {
  alarms = merge(local.metric_alarms, local.dead_letter_alarms)

  metric_alarms = {
    live_age = {
      description = "A table's live data is older than its interval allows. Look for a hold, rejected candidates or a failed export. See docs/operate.md#live-is-old."
      metric      = "LiveOverdue"
      statistic   = "Maximum"
      period      = 3600
      threshold   = 0
    }
    optout_lag = {
      description = "A drop waited longer than OptoutLagSeconds to be published. Its people may still be in extractions. Look for a hold, an error of OptoutFunction, or a long min_interval. See docs/operate.md#an-opt-out-waits."
      metric      = "OptoutLag"
      statistic   = "Maximum"
      period      = 300
      threshold   = var.optout_lag_seconds
    }
    rejected = {
      description = "A candidate failed its audit. The live table is unchanged. FlipFunction's log lists every reason. See docs/operate.md#rejected."
      metric      = "Rejected"
      statistic   = "Sum"
      period      = 300
      threshold   = 0
    }
    rejected_records = {
      description = "Records of a drop were rejected, so these people are not opted out. Read _rejected/ in the inbox, correct the records and put them under a new name. See docs/operate.md#rejected-records."
      metric      = "RejectedRecords"
      statistic   = "Sum"
      period      = 300
      threshold   = 0
    }
    held_returning = {
      description = "Drops would bring back more people than max_returning of their inbox, so they are held back until an operator decides. See docs/operate.md#people-would-come-back."
      metric      = "HeldReturning"
      statistic   = "Maximum"
      period      = 300
      threshold   = 0
    }
    unflip = {
      description = "Something outside Turntable moved or edited a table (drift), for example Terraform, a crawler or the console. Invoke flip with the action status. See docs/operate.md#somebody-else-has-moved-a-table."
      metric      = "Unflips"
      statistic   = "Sum"
      period      = 300
      threshold   = 0
    }
    view_drift = {
      description = "A view that leaves people out was changed, dropped or could not be made. Unless OptoutFunction's log has an error, it has been restored. See docs/operate.md#a-protected-view-was-changed."
      metric      = "ViewDrift"
      statistic   = "Sum"
      period      = 60
      threshold   = 0
    }
    damaged_live = {
      description = "Files of a live table are missing, changed or unexpected. Invoke flip with the action status. An opt-out table has been rebuilt, unless OptoutFunction's log has an error. See docs/operate.md#files-of-a-live-table-were-lost-or-added and #files-of-an-opt-out-table-are-damaged."
      metric      = "DamagedLive"
      statistic   = "Sum"
      period      = 60
      threshold   = 0
    }
    bucket_settings = {
      description = "A bucket's settings lose events or data, or keep deleted rows. Invoke flip with the action status. See docs/operate.md#the-buckets-settings."
      metric      = "BucketSettings"
      statistic   = "Maximum"
      period      = 3600
      threshold   = 0
    }
    config_faults = {
      description = "An entry of datasets.toml has faults, so nothing is published for this dataset. The others work on. Invoke flip with the action status. See docs/operate.md#an-entry-of-datasetstoml-has-faults."
      metric      = "ConfigFaults"
      statistic   = "Maximum"
      period      = 300
      threshold   = 0
    }
    max_age = {
      description = "A replaced generation still exists more than 2 hours after its dataset's max_age. Invoke sweep with dry_run to see why it is kept. See docs/operate.md#beyond-max_age."
      metric      = "BeyondMaxAge"
      statistic   = "Maximum"
      period      = 3600
      threshold   = 7200
    }
  }

  dead_letter_alarms = {
    for function, description in {
      export = "An export failed permanently. The live table is unchanged. See docs/operate.md#dead-letters."
      flip   = "A flip, or the drift check after a table change, failed permanently. See docs/operate.md#dead-letters."
      optout = "A refresh failed permanently. The next refresh takes in its drops. If that fails too, people who opted out stay in extractions. See docs/operate.md#dead-letters."
      sweep  = "A sweep failed permanently. No data is lost, but data that should be deleted still exists. See docs/operate.md#dead-letters."
      } : "${function}_dead_letters" => {
      description = description
      queue       = aws_sqs_queue.dead_letters[function].name
      metric      = "ApproximateNumberOfMessagesVisible"
      statistic   = "Maximum"
      period      = 300
      threshold   = 0
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.stack_name}-${replace(each.key, "_", "-")}"
  alarm_description   = each.value.description
  namespace           = can(each.value.queue) ? "AWS/SQS" : "Turntable"
  metric_name         = each.value.metric
  dimensions          = can(each.value.queue) ? { QueueName = each.value.queue } : { Stack = var.stack_name }
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = 1
  threshold           = each.value.threshold
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arn == "" ? [] : [var.alarm_topic_arn]
}
