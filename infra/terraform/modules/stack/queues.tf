locals {
  # Six times the function's timeout is visible to no other invocation, as Lambda advises.
  queues = {
    export = {
      function    = "export"
      visibility  = 5400
      batch       = 1 # One dataset may need the whole timeout.
      concurrency = var.export_concurrency
    }
    # Apart from `export`, so that no export waits for the events of a burst.
    put = {
      function    = "export"
      visibility  = 5400 # Sweep makes up for an event sooner.
      batch       = 10
      concurrency = 2 # The minimum that Lambda accepts.
    }
    optout = {
      function   = "optout"
      visibility = 1800 # The schedule retries sooner.
      # No batching window: its minimum is 1 second. A refresh takes in every unread drop, so the two concurrent
      # invocations combine a burst anyway.
      batch       = 10
      concurrency = 2 # The minimum that Lambda accepts.
    }
  }
}

resource "aws_sqs_queue" "work" {
  #checkov:skip=CKV_AWS_27:Encrypted with kms_key_arn or with SQS's own key. A message contains names, never rows.
  for_each = local.queues

  name                       = "${var.stack_name}-${each.key}-queue"
  visibility_timeout_seconds = each.value.visibility
  sqs_managed_sse_enabled    = local.has_key ? null : true
  kms_master_key_id          = local.key

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters[each.value.function].arn
    maxReceiveCount     = 3
  })
}

# Each function has one. It receives failed invocations, and what its queue, schedules and rules could not deliver.
resource "aws_sqs_queue" "dead_letters" {
  #checkov:skip=CKV_AWS_27:Encrypted with kms_key_arn or with SQS's own key. A message contains names, never rows.
  for_each = toset(local.function_names)

  name                      = "${var.stack_name}-${each.key}-dead-letters"
  message_retention_seconds = 1209600 # 14 days, the maximum.
  sqs_managed_sse_enabled   = local.has_key ? null : true
  kms_master_key_id         = local.key
}

# Unlike a schedule or a function, a rule has no role, so the queue's policy must allow it to send.
locals {
  senders = {
    for name in local.function_names :
    name => [for key, rule in local.rules : aws_cloudwatch_event_rule.this[key].arn if rule.function == name]
  }
  feeders = {
    for name in keys(local.queues) :
    name => [for key, rule in local.rules : aws_cloudwatch_event_rule.this[key].arn if rule.queue == name]
  }
}

resource "aws_sqs_queue_policy" "dead_letters" {
  for_each = toset(distinct(values(local.rules)[*].function))

  queue_url = aws_sqs_queue.dead_letters[each.key].url

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.dead_letters[each.key].arn
      Condition = { ArnEquals = { "aws:SourceArn" = local.senders[each.key] } }
    }]
  })
}

resource "aws_sqs_queue_policy" "work" {
  for_each = toset([for rule in values(local.rules) : rule.queue if rule.queue != null])

  queue_url = aws_sqs_queue.work[each.key].url

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = aws_sqs_queue.work[each.key].arn
      Condition = { ArnEquals = { "aws:SourceArn" = local.feeders[each.key] } }
    }]
  })
}
