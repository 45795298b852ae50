# The most urgent widgets are on top.

locals {
  # Graphs of the functions' own metrics, one line per dataset. `alarm` draws the threshold.
  dataset_graphs = [
    {
      place   = [0, 3]
      width   = 12
      period  = 3600
      title   = "Age of live data, overdue in the stack, s"
      metrics = { LiveAge = "Maximum", LiveOverdue = "Maximum" }
      stack   = ["LiveOverdue"] # Without a line per dataset.
    },
    { place = [12, 3], width = 12, period = 60, title = "Opt-out lag, from put to flip, s", metrics = { OptoutLag = "Maximum" }, alarm = var.optout_lag_seconds },
    {
      place   = [0, 9]
      width   = 8
      period  = 300
      title   = "Rejected candidates, drift, engine failures"
      metrics = { Rejected = "Sum", Unflips = "Sum", ViewDrift = "Sum", DamagedLive = "Sum", EngineFailed = "Sum", BucketSettings = "Sum", ConfigFaults = "Maximum" }
      periods = { BucketSettings = 3600 } # Sweep's reports.
    },
    {
      place   = [8, 9]
      width   = 8
      period  = 300
      title   = "Rejected opt-out records, people who come back"
      metrics = { RejectedRecords = "Sum", Returning = "Sum", HeldReturning = "Maximum" }
    },
    { place = [0, 15], width = 8, period = 3600, title = "Rows exported", metrics = { Rows = "Maximum" } },
    { place = [8, 15], width = 8, period = 3600, title = "Export time, s", metrics = { ExportTime = "Maximum" } },
    { place = [16, 15], width = 8, period = 300, title = "Flip time, s", metrics = { FlipTime = "Maximum" } },
    { place = [0, 21], width = 8, period = 3600, title = "Bytes exported", metrics = { Bytes = "Maximum" } },
    {
      place   = [8, 21]
      width   = 8
      period  = 3600
      title   = "Oldest replaced generation, beyond max_age, s"
      metrics = { OldestReplaced = "Maximum", BeyondMaxAge = "Maximum" }
    },
    { place = [16, 21], width = 8, period = 3600, title = "Bytes deleted by sweep", metrics = { SweptBytes = "Sum" } },
    { place = [0, 33], width = 8, period = 3600, title = "Exports from unverified databases", metrics = { UnverifiedTls = "Sum" } },
  ]

  # Graphs of AWS's metrics, one line per function: its own, and its dead-letter queue's.
  function_graphs = [
    {
      place  = [16, 9]
      width  = 8
      title  = "Dead letters"
      stat   = "Maximum"
      metric = ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName"]
      values = { for name in local.function_names : name => aws_sqs_queue.dead_letters[name].name }
    },
    {
      place  = [0, 27]
      width  = 12
      title  = "Function errors"
      stat   = "Sum"
      metric = ["AWS/Lambda", "Errors", "FunctionName"]
      values = { for name in local.function_names : name => aws_lambda_function.this[name].function_name }
    },
    {
      place  = [12, 27]
      width  = 12
      title  = "Function duration, ms"
      stat   = "Maximum"
      metric = ["AWS/Lambda", "Duration", "FunctionName"]
      values = { for name in local.function_names : name => aws_lambda_function.this[name].function_name }
    },
  ]

  graphs = concat(
    [
      for graph in local.dataset_graphs : merge(graph, {
        lines = [
          for metric, statistic in graph.metrics : [{
            expression = format(
              "SEARCH('{Turntable,Stack%s} Stack=\"%s\" MetricName=\"%s\"', '%s', %d)",
              contains(try(graph.stack, []), metric) ? "" : ",Dataset", var.stack_name, metric, statistic, try(graph.periods[metric], graph.period),
            )
          }]
        ]
      })
    ],
    [
      for graph in local.function_graphs : merge(graph, {
        period = 300
        lines  = [for name, value in graph.values : concat(graph.metric, [value, { stat = graph.stat, label = name }])]
      })
    ],
  )
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.stack_name

  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type = "alarm", x = 0, y = 0, width = 24, height = 3
        properties = {
          title  = "Alarms"
          alarms = [for alarm in aws_cloudwatch_metric_alarm.this : alarm.arn]
        }
      }],
      [
        for graph in local.graphs : {
          type = "metric", x = graph.place[0], y = graph.place[1], width = graph.width, height = 6
          properties = merge(
            { title = graph.title, region = local.region, period = graph.period, yAxis = { left = { min = 0 } }, metrics = graph.lines },
            can(graph.alarm) ? { annotations = { horizontal = [{ label = "alarm", value = graph.alarm }] } } : {},
          )
        }
      ],
    )
  })
}
