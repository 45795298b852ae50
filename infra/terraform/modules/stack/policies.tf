# What each function may do. A statement with `when` exists only under that condition.

locals {
  bucket      = "arn:${local.partition}:s3:::${var.bucket_name}"
  generations = ["${local.bucket}/*/blue-*/*", "${local.bucket}/*/green-*/*"]

  glue    = "arn:${local.partition}:glue:${local.place}"
  athena  = "arn:${local.partition}:athena:${local.place}"
  secrets = length(var.secret_arns) > 0
  users   = length(var.rds_user_arns) > 0
  remote  = length(var.connector_arns) > 0 # Catalogs that Athena reads through a connector.

  # Glue requires permission on the table, its database and the catalog. The table's ARN names the database, and the catalog's
  # ARN restricts partition, region and account for all three. Short ARNs keep a role's policies below IAM's 10,240 characters
  # with 100 databases.
  tables = concat(
    ["${local.glue}:catalog", "arn:*:glue:*:*:database/*"],
    [for database in var.glue_databases : "arn:*:glue:*:*:table/${database}/*"],
  )

  # Lambda needs these to attach a function to the subnets. EC2 supports no narrower resource.
  network = [
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
  ]

  policies = {
    # Export writes only generations, their manifests, and the records of engine runs and of refreshes.
    export = [
      {
        actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        resources = ["${aws_cloudwatch_log_group.this["export"].arn}:*"]
      },
      {
        actions   = ["s3:AbortMultipartUpload"]
        resources = local.generations
      },
      {
        actions = concat(
          ["glue:GetTable", "glue:GetPartitions"],
          local.has_engines ? ["glue:GetPartition", "glue:BatchGetPartition"] : [], # Athena reads partitioned tables with these.
        )
        resources = local.tables
      },
      {
        actions = ["s3:PutObject"]
        resources = concat(local.generations, [
          "${local.bucket}/*/_manifests/*.json",
          "${local.bucket}/*/_pending/*.json",
          "${local.bucket}/*/_export_failed.json",
          "${local.bucket}/*/_refresh.json",
          "${local.bucket}/_stacks/${var.stack_name}/refresh.json",
        ])
      },
      {
        actions = [
          "sqs:SendMessage",
          "sqs:ReceiveMessage",
          "sqs:DeleteMessage",
          "sqs:GetQueueAttributes",
          "sqs:ChangeMessageVisibility",
        ]
        resources = [aws_sqs_queue.work["export"].arn]
      },
      {
        actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
        resources = [aws_sqs_queue.work["put"].arn]
      },
      {
        actions   = ["sqs:SendMessage"]
        resources = [aws_sqs_queue.dead_letters["export"].arn]
      },
      {
        when      = length(var.source_buckets) > 0
        actions   = ["s3:ListBucket"]
        resources = [for name in var.source_buckets : "arn:${local.partition}:s3:::${name}"]
      },
      {
        when      = length(var.source_buckets) > 0
        actions   = ["s3:GetObject"]
        resources = [for name in var.source_buckets : "arn:${local.partition}:s3:::${name}/*"]
      },
      {
        when      = local.secrets
        actions   = ["secretsmanager:GetSecretValue"]
        resources = var.secret_arns
      },
      {
        when      = local.users
        actions   = ["rds-db:connect"]
        resources = var.rds_user_arns
      },
      {
        when = local.has_engines
        actions = concat(
          [
            "athena:StartQueryExecution",
            "athena:GetQueryExecution",
            "athena:GetQueryResults",
            "athena:StopQueryExecution",
          ],
          local.remote ? ["athena:GetWorkGroup"] : [], # Federated queries need it.
        )
        resources = [for name in var.engine_workgroups : "${local.athena}:workgroup/${name}"]
      },
      {
        when      = local.has_engines # Athena writes an UNLOAD's files with the caller's permissions. See also `athena` below.
        actions   = ["s3:ListMultipartUploadParts"]
        resources = local.generations
      },
      {
        when      = local.remote
        actions   = ["lambda:InvokeFunction"]
        resources = var.connector_arns
      },
      {
        when      = local.remote
        actions   = ["athena:GetDataCatalog"]
        resources = ["${local.athena}:datacatalog/*"]
      },
      {
        when      = length(var.glue_jobs) > 0
        actions   = ["glue:GetJob", "glue:StartJobRun", "glue:GetJobRun", "glue:GetJobRuns"]
        resources = [for name in var.glue_jobs : "${local.glue}:job/${name}"]
      },
      {
        when      = local.has_subnets
        actions   = local.network
        resources = ["*"]
      },
    ]

    flip = [
      {
        actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        resources = ["${aws_cloudwatch_log_group.this["flip"].arn}:*"]
      },
      {
        actions = ["s3:PutObject"]
        resources = [
          "${local.bucket}/*/_flips/*",
          "${local.bucket}/*/_hold.json",
          "${local.bucket}/*/_returns/*",
          "${local.bucket}/*/_table.json",
          "${local.bucket}/*/_verdicts/*.json",
          "${local.bucket}/_retired/*.json",
          "${local.bucket}/_groups/*.json",
          "${local.bucket}/*/_groups/*.json",
          "${local.bucket}/_stacks/${var.stack_name}/matches/*.json",
        ]
      },
      {
        actions   = ["s3:ListBucketMultipartUploads"] # For `status`, which lists unfinished uploads too.
        resources = [local.bucket]
      },
      {
        actions = [
          "glue:GetTable",
          "glue:GetTables", # For `status`: which tables read published files.
          "glue:GetPartitions",
          "glue:CreateTable",
          "glue:UpdateTable",
          "glue:GetColumnStatisticsForTable", # Statistics of files that the table no longer reads are deleted.
          "glue:DeleteColumnStatisticsForTable",
          "glue:DeleteTable", # A retired table, its views, and the temporary table of an audit.
        ]
        resources = local.tables
      },
      {
        actions   = ["sts:AssumeRole"]
        resources = [aws_iam_role.checks.arn]
      },
      {
        actions   = ["sqs:SendMessage"]
        resources = [aws_sqs_queue.dead_letters["flip"].arn]
      },
      {
        actions   = ["sqs:GetQueueAttributes", "sqs:ReceiveMessage"] # For `status`, which leaves the messages visible.
        resources = values(aws_sqs_queue.dead_letters)[*].arn
      },
    ]

    optout = [
      {
        actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        resources = ["${aws_cloudwatch_log_group.this["optout"].arn}:*"]
      },
      {
        actions   = ["s3:AbortMultipartUpload"]
        resources = local.generations
      },
      {
        actions = ["s3:PutObject"]
        resources = concat(local.generations, [
          "${local.bucket}/*/_manifests/*.json",
          "${local.bucket}/*/_flips/*",
          "${local.bucket}/*/_returns/*",
          "${local.bucket}/*/_table.json",
          "${local.bucket}/_retired/*.json",
          "${local.bucket}/*/_verdicts/*.json",
          "${local.bucket}/*/_returning.json",
          "${local.bucket}/${var.inbox_prefix}*_rejected/*",
          "${local.bucket}/${var.inbox_prefix}*_published.json",
        ])
      },
      {
        actions   = ["glue:GetTable", "glue:GetTables", "glue:GetPartitions", "glue:CreateTable", "glue:UpdateTable"]
        resources = local.tables
      },
      {
        actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
        resources = [aws_sqs_queue.work["optout"].arn]
      },
      {
        actions   = ["sqs:SendMessage"]
        resources = [aws_sqs_queue.dead_letters["optout"].arn]
      },
      {
        when      = local.secrets # For reconciling with a database.
        actions   = ["secretsmanager:GetSecretValue"]
        resources = var.secret_arns
      },
      {
        when      = local.users
        actions   = ["rds-db:connect"]
        resources = var.rds_user_arns
      },
      {
        when      = local.has_subnets
        actions   = local.network
        resources = ["*"]
      },
    ]

    # The only role that may delete objects.
    sweep = [
      {
        actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        resources = ["${aws_cloudwatch_log_group.this["sweep"].arn}:*"]
      },
      {
        # Sweep looks at the bucket's settings, and reports what loses data or keeps deleted rows.
        actions = [
          "s3:ListBucketMultipartUploads",
          "s3:GetBucketVersioning",
          "s3:GetBucketNotification",
          "s3:GetLifecycleConfiguration",
        ]
        resources = [local.bucket]
      },
      {
        actions   = ["s3:AbortMultipartUpload"]
        resources = local.generations
      },
      {
        actions = ["s3:DeleteObject"]
        resources = concat(local.generations, [
          "${local.bucket}/*/_manifests/*.json",
          "${local.bucket}/*/_flips/*.json",
          "${local.bucket}/*/_returns/*.json",
          "${local.bucket}/*/_sweeping/*.json",
          "${local.bucket}/*/_pending/*.json",
          "${local.bucket}/*/_verdicts/*.json",
          "${local.bucket}/${var.inbox_prefix}*", # Drops that were copied to the archive.
        ])
      },
      {
        # Sweep marks a generation before it deletes it, so that no flip goes back to it.
        actions = ["s3:PutObject"]
        resources = [
          "${local.bucket}/*/_sweeping/*.json",
          "${local.bucket}/_archive/*",
          "${local.bucket}/_stacks/${var.stack_name}/*",
          "${local.bucket}/${var.inbox_prefix}*_published.json",
          "${local.bucket}/*/_flips/*", # A repair is a flip.
          "${local.bucket}/*/_table.json",
          "${local.bucket}/_retired/*.json",
          "${local.bucket}/*/_returns/*",
          "${local.bucket}/_groups/*.json", # A group goes back as a whole.
          "${local.bucket}/*/_groups/*.json",
        ]
      },
      {
        # UpdateTable is the fence against flips, or a repair. A repair creates a table that was dropped.
        actions = [
          "glue:GetTable",
          "glue:GetTables",
          "glue:GetPartitions",
          "glue:CreateTable",
          "glue:UpdateTable",
          "glue:GetColumnStatisticsForTable",
          "glue:DeleteColumnStatisticsForTable",
        ]
        resources = local.tables
      },
      {
        # Only the temporary tables that an interrupted audit left behind.
        actions   = ["glue:DeleteTable"]
        resources = ["${local.glue}:catalog", "${local.glue}:database/*", "${local.glue}:table/*/turntable_audit_*"]
      },
      {
        actions   = ["athena:ListQueryExecutions", "athena:BatchGetQueryExecution"]
        resources = [for name in var.workgroups : "${local.athena}:workgroup/${name}"]
      },
      {
        actions   = ["sqs:SendMessage"]
        resources = [aws_sqs_queue.dead_letters["sweep"].arn, aws_sqs_queue.work["export"].arn]
      },
    ]
  }

  # Each of these policies belongs to several roles.
  shared_policies = {
    # Read access that every function needs.
    read = {
      roles = concat(local.function_names, ["checks"])
      statements = [
        {
          actions   = ["s3:ListBucket"] # Without it, S3 reports a missing object as 403 instead of 404.
          resources = [local.bucket]
        },
        {
          actions   = ["s3:GetObject"]
          resources = ["${local.bucket}/*"]
        },
      ]
    }

    # What Athena does with the permissions of the role that runs a query, beyond reading tables and files: it reads the
    # catalog, and writes the result. The databases and `default` need GetDatabase and GetDatabases ("Configure access to
    # databases and tables in the AWS Glue Data Catalog", Athena guide). A result of several parts is a multipart upload.
    athena = {
      roles = local.has_engines ? ["checks", "export"] : ["checks"]
      statements = [
        {
          actions   = ["glue:GetDatabase", "glue:GetDatabases"] # Metadata only. Reading a table takes GetTable.
          resources = ["${local.glue}:catalog", "${local.glue}:database/*"]
        },
        {
          actions   = ["s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]
          resources = [local.bucket]
        },
        {
          actions   = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
          resources = ["${local.bucket}/_athena/*"]
        },
        {
          when      = var.athena_results_arn != "" # Results that a workgroup puts elsewhere.
          actions   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
          resources = [split("/", var.athena_results_arn)[0]]
        },
        {
          when      = var.athena_results_arn != ""
          actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
          resources = [var.athena_results_arn]
        },
        {
          when      = var.lake_formation # It supports no narrower resource.
          actions   = ["lakeformation:GetDataAccess"]
          resources = ["*"]
        },
      ]
    }

    # Denies the stack's roles all resources of other accounts. A bucket that datasets.toml or a parameter names may belong to
    # another account, for example after it was deleted. Calls without a resource have no aws:ResourceAccount.
    account = {
      roles = concat(local.function_names, ["checks"], keys(local.schedules))
      statements = [
        {
          effect    = "Deny"
          actions   = ["*"]
          resources = ["*"]
          condition = {
            Null            = { "aws:ResourceAccount" = "false" }
            StringNotEquals = { "aws:ResourceAccount" = concat([local.account], var.other_accounts) }
          }
        },
      ]
    }

    # The schedules' roles send to the dead-letter queues, which the key encrypts.
    key = {
      when  = local.has_key
      roles = concat(local.function_names, ["checks"], keys(local.schedules))
      statements = [
        {
          actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
          resources = [var.kms_key_arn]
        },
      ]
    }

    tracing = {
      when  = var.tracing == "Active"
      roles = local.function_names
      statements = [
        {
          actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"] # X-Ray supports no narrower resource.
          resources = ["*"]
        },
      ]
    }
  }
}
