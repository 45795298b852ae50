# The functions' roles and their policies. Schedules have roles of their own, which may only invoke and send dead letters.

resource "aws_iam_role" "function" {
  for_each = toset(local.function_names)

  name                 = "${var.stack_name}-${each.key}"
  permissions_boundary = local.boundary

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

# The role with which Athena runs `sql` checks and canaries, which are text from datasets.toml. It reads the catalog and the
# bucket, and writes only results of queries.
resource "aws_iam_role" "checks" {
  name                 = "${var.stack_name}-checks"
  permissions_boundary = local.boundary

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { AWS = aws_iam_role.function["flip"].arn }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy" "checks" {
  name = "checks"
  role = aws_iam_role.checks.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["glue:GetTable", "glue:GetPartitions", "glue:GetPartition", "glue:BatchGetPartition"]
        Resource = local.tables
      },
      {
        Effect   = "Allow"
        Action   = ["athena:StartQueryExecution", "athena:GetQueryExecution", "athena:GetQueryResults", "athena:StopQueryExecution"]
        Resource = ["${local.athena}:workgroup/${var.athena_workgroup}"]
      },
    ]
  })
}

resource "aws_iam_role" "schedule" {
  for_each = local.schedules

  name                 = "${var.stack_name}-schedule-${each.value.name}"
  permissions_boundary = local.boundary

  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "scheduler.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy" "own" {
  for_each = local.policies

  name = each.key
  role = aws_iam_role.function[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for statement in each.value : { Effect = "Allow", Action = statement.actions, Resource = statement.resources }
      if try(statement.when, true)
    ]
  })
}

resource "aws_iam_role_policy" "shared" {
  for_each = merge([
    for name, policy in local.shared_policies : {
      for role in policy.roles : "${name}/${role}" => { name = name, role = role, statements = policy.statements }
    } if try(policy.when, true)
  ]...)

  name = each.value.name
  role = merge(aws_iam_role.function, aws_iam_role.schedule, { checks = aws_iam_role.checks })[each.value.role].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      for statement in each.value.statements : merge(
        { Effect = try(statement.effect, "Allow"), Action = statement.actions, Resource = statement.resources },
        can(statement.condition) ? { Condition = statement.condition } : {},
      ) if try(statement.when, true)
    ]
  })
}

resource "aws_iam_role_policy" "schedule" {
  for_each = local.schedules

  name = "invoke"
  role = aws_iam_role.schedule[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = "lambda:InvokeFunction", Resource = aws_lambda_function.this[each.value.function].arn },
      { Effect = "Allow", Action = "sqs:SendMessage", Resource = aws_sqs_queue.dead_letters[each.value.function].arn },
    ]
  })
}
