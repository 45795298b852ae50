# template.yaml's parameters. Made by ../../parameters.py: edit the template instead.

# Lake

variable "bucket_name" {
  description = "Name of the bucket for the tables' files and datasets.toml. Bucket names are globally unique."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket_name))
    error_message = "The value must match ^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$."
  }
}

variable "create_bucket" {
  description = "false if the bucket already exists. docs/deploy.md lists the settings that an existing bucket needs."
  type        = bool
  default     = true
  nullable    = false
}

variable "datasets_key" {
  description = "Key of the datasets file (datasets.toml) in the bucket."
  type        = string
  default     = "datasets.toml"
  nullable    = false

  validation {
    condition     = length(var.datasets_key) >= 1 && length(var.datasets_key) <= 1024
    error_message = "The length must be between 1 and 1024."
  }
}

variable "deployer_arns" {
  description = "ARNs or ARN patterns of the IAM roles and users that may write datasets.toml and the certificates under tls/ in the bucket. Nobody else may, whatever their own policies allow."
  type        = list(string)
  nullable    = false
}

variable "version_days" {
  description = "Days that overwritten and deleted objects stay as noncurrent versions, among them earlier versions of datasets.toml. The rows of people who opted out stay as long. 0 for no versioning."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.version_days >= 0 && var.version_days <= 365
    error_message = "The value must be between 0 and 365."
  }
}

variable "glue_databases" {
  description = "Glue databases in which the functions may create and flip tables, as names or patterns (dmp,sales_*). Name only databases whose tables Turntable may take over."
  type        = list(string)
  nullable    = false
}

variable "inbox_prefix" {
  description = "Key prefix that all inboxes in the bucket share. `optout` receives events only for keys with this prefix."
  type        = string
  default     = "inbox/"
  nullable    = false

  validation {
    condition     = length(var.inbox_prefix) >= 1 && length(var.inbox_prefix) <= 512
    error_message = "The length must be between 1 and 512."
  }
}

variable "archive_days" {
  description = "Days that drops stay in the archive (_archive/ in the bucket) after sweep moves them out of their inbox."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.archive_days >= 1 && var.archive_days <= 3650
    error_message = "The value must be between 1 and 3650."
  }
}

# Sources

variable "source_buckets" {
  description = "Names of additional buckets that `files` sources read. Empty for none."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "put_prefix" {
  description = "Key prefix in the bucket below which a put refreshes the tables that read it, if they have `refresh = { on_put = true }`. Each put with this prefix sends a message to `export`."
  type        = string
  default     = "source/"
  nullable    = false

  validation {
    condition     = length(var.put_prefix) >= 1 && length(var.put_prefix) <= 512
    error_message = "The length must be between 1 and 512."
  }
}

variable "put_buckets" {
  description = "Those of `source_buckets` in which a put refreshes the tables that read it, whatever the key. They must send their events to EventBridge. Empty for none."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "bucket_owners" {
  description = "Buckets of other accounts and the accounts that own them, as BUCKET=ACCOUNT, separated by commas. All other buckets must belong to this account."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9.-]+=[0-9]{12}(,[a-z0-9.-]+=[0-9]{12})*)?$", var.bucket_owners))
    error_message = "The value must match ^([a-z0-9.-]+=[0-9]{12}(,[a-z0-9.-]+=[0-9]{12})*)?$."
  }
}

variable "secret_arns" {
  description = "ARNs or ARN patterns of the secrets that hold database credentials. Empty for none."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "rds_user_arns" {
  description = "ARNs or ARN patterns of the database users that sign in with IAM tokens (arn:aws:rds-db:REGION:ACCOUNT:dbuser:db-ID/USER). Empty for none."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "subnet_ids" {
  description = "Subnets from which `export` and `optout` reach the databases. They need a route to S3, Glue, SQS, Secrets Manager and, for engines, Athena. Empty for no VPC."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "security_group_ids" {
  description = "Security groups of `export` and `optout` in these subnets. Required with `subnet_ids`. Leave it empty otherwise."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "layers" {
  description = "ARNs of versions of Lambda layers for `export` and `optout`, at most five, such as one with a PEM file of trusted certificates, which is then below /opt. Empty for none."
  type        = list(string)
  default     = []
  nullable    = false
}

# Engines

variable "engine_workgroups" {
  description = "Names of the Athena workgroups for `athena` sources. Every finished query in them invokes `export`, so use them for nothing else. Empty for none."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "glue_jobs" {
  description = "Names of the Glue jobs for `glue_job` sources. Empty for none."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "connector_arns" {
  description = "ARNs or ARN patterns of the Lambda connectors through which queries of `athena` sources read other catalogs. Empty for none."
  type        = list(string)
  default     = []
  nullable    = false
}

# Schedule

variable "schedule" {
  description = "Schedule on which every dataset without a `refresh` of its own is exported, as an EventBridge Scheduler expression."
  type        = string
  default     = "cron(0 2 * * ? *)"
  nullable    = false

  validation {
    condition     = can(regex("^(cron|rate|at)\\(.+\\)$", var.schedule))
    error_message = "The value must match ^(cron|rate|at)\\(.+\\)$."
  }
}

variable "schedule_timezone" {
  description = "IANA time zone of the schedules, for example Asia/Tokyo."
  type        = string
  default     = "UTC"
  nullable    = false

  validation {
    condition     = length(var.schedule_timezone) >= 1 && length(var.schedule_timezone) <= 50
    error_message = "The length must be between 1 and 50."
  }
}

variable "schedule_state" {
  description = "DISABLED keeps the schedules in the stack but never fires them."
  type        = string
  default     = "ENABLED"
  nullable    = false

  validation {
    condition     = contains(["ENABLED", "DISABLED"], var.schedule_state)
    error_message = "The value must be one of ENABLED, DISABLED."
  }
}

variable "optout_schedule" {
  description = "Schedule on which inboxes are checked without an event, as an EventBridge Scheduler expression. Its period bounds how long a drop waits after its dataset's min_interval is over."
  type        = string
  default     = "rate(1 minute)"
  nullable    = false

  validation {
    condition     = can(regex("^(cron|rate|at)\\(.+\\)$", var.optout_schedule))
    error_message = "The value must match ^(cron|rate|at)\\(.+\\)$."
  }
}

variable "sweep_schedule" {
  description = "Schedule on which unreachable generations are deleted, as an EventBridge Scheduler expression."
  type        = string
  default     = "rate(1 hour)"
  nullable    = false

  validation {
    condition     = can(regex("^(cron|rate|at)\\(.+\\)$", var.sweep_schedule))
    error_message = "The value must match ^(cron|rate|at)\\(.+\\)$."
  }
}

variable "workgroups" {
  description = "Athena workgroups, as names or patterns, whose running queries `sweep` may list. Sweep keeps the generations that these queries may read. Each dataset selects the workgroups that sweep asks, with `workgroups` in datasets.toml; by default, only primary."
  type        = list(string)
  default     = ["*"]
  nullable    = false
}

# Alarms

variable "alarm_topic_arn" {
  description = "ARN of the SNS topic that receives the alarms. Empty for none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^$|^arn:.+", var.alarm_topic_arn))
    error_message = "The value must match ^$|^arn:.+."
  }
}

variable "live_age_seconds" {
  description = "Age of live data, in seconds since its snapshot, above which LiveAgeAlarm is raised for datasets without a `refresh` of their own. Set it above the period of `schedule` plus the longest export."
  type        = number
  default     = 93600
  nullable    = false

  validation {
    condition     = var.live_age_seconds >= 60
    error_message = "The value must be at least 60."
  }
}

variable "optout_lag_seconds" {
  description = "Seconds from the put of a drop to the flip that publishes it, above which OptoutLagAlarm is raised. Set it above every min_interval."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.optout_lag_seconds >= 1
    error_message = "The value must be at least 1."
  }
}

variable "dataset_metrics" {
  description = "false omits the per-dataset metrics, for which CloudWatch charges. Most graphs of the dashboard are empty then; the alarms keep working."
  type        = bool
  default     = true
  nullable    = false
}

# Functions

variable "architecture" {
  description = "Instruction set architecture of the functions."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "The value must be one of arm64, x86_64."
  }
}

variable "export_memory" {
  description = "Memory of `export` in MB. Its CPU share grows with its memory. New accounts are limited to 3008."
  type        = number
  default     = 3008
  nullable    = false

  validation {
    condition     = var.export_memory >= 512 && var.export_memory <= 10240
    error_message = "The value must be between 512 and 10240."
  }
}

variable "export_concurrency" {
  description = "Maximum number of datasets that are exported concurrently."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.export_concurrency >= 2 && var.export_concurrency <= 1000
    error_message = "The value must be between 2 and 1000."
  }
}

variable "flip_reserved_concurrency" {
  description = "Maximum number of concurrent flips, and so of datasets whose checks run in Athena at the same time. Other flips wait. Lambda reserves this from the account's concurrency, of which 100 must stay unreserved. null for no limit."
  type        = number
  default     = null

  validation {
    condition     = var.flip_reserved_concurrency == null ? true : var.flip_reserved_concurrency >= 1 && var.flip_reserved_concurrency <= 9999
    error_message = "The value must be between 1 and 9999, or null."
  }
}

variable "optout_reserved_concurrency" {
  description = "Concurrency reserved for `optout`, so that no other function of the account can delay an opt-out. 3 is enough. 100 of the account's concurrency must stay unreserved. null for none."
  type        = number
  default     = null

  validation {
    condition     = var.optout_reserved_concurrency == null ? true : var.optout_reserved_concurrency >= 1 && var.optout_reserved_concurrency <= 9999
    error_message = "The value must be between 1 and 9999, or null."
  }
}

variable "athena_workgroup" {
  description = "Athena workgroup in which checks and canaries run. If it overrides the location of query results, set `athena_results_arn` too."
  type        = string
  default     = "primary"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]{1,128}$", var.athena_workgroup))
    error_message = "The value must match ^[A-Za-z0-9._-]{1,128}$."
  }
}

variable "athena_results" {
  description = "Who chooses where results of queries go. BUCKET puts them into _athena/ of the bucket; a workgroup with managed query results still keeps its own. WORKGROUP leaves it to the workgroups."
  type        = string
  default     = "BUCKET"
  nullable    = false

  validation {
    condition     = contains(["BUCKET", "WORKGROUP"], var.athena_results)
    error_message = "The value must be one of BUCKET, WORKGROUP."
  }
}

variable "athena_results_arn" {
  description = "ARN of the objects in which a workgroup puts the results of queries if it overrides the location (arn:aws:s3:::BUCKET/PREFIX/*). Empty for none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^$|^arn:[^:]+:s3:::[^/]+/.*\\*$", var.athena_results_arn))
    error_message = "The value must match ^$|^arn:[^:]+:s3:::[^/]+/.*\\*$."
  }
}

variable "log_level" {
  description = "Minimum severity that the functions log."
  type        = string
  default     = "INFO"
  nullable    = false

  validation {
    condition     = contains(["TRACE", "DEBUG", "INFO"], var.log_level)
    error_message = "The value must be one of TRACE, DEBUG, INFO."
  }
}

variable "log_retention_days" {
  description = "Days that the functions' logs are retained."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "The value must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

variable "tracing" {
  description = "Active records X-Ray traces of the functions."
  type        = string
  default     = "PassThrough"
  nullable    = false

  validation {
    condition     = contains(["PassThrough", "Active"], var.tracing)
    error_message = "The value must be one of PassThrough, Active."
  }
}

# Encryption and permissions

variable "kms_key_arn" {
  description = "ARN of the KMS key that encrypts the bucket, the queues and the logs. Empty for the default encryption of S3, SQS and CloudWatch."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^$|^arn:[^:]+:kms:.+:key/.+", var.kms_key_arn))
    error_message = "The value must match ^$|^arn:[^:]+:kms:.+:key/.+."
  }
}

variable "lake_formation" {
  description = "true if Lake Formation governs the databases. Athena then needs lakeformation:GetDataAccess in addition to the grants of docs/deploy.md."
  type        = bool
  default     = false
  nullable    = false
}

variable "permissions_boundary_arn" {
  description = "ARN of the permissions boundary for every role of this stack. Empty for none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^$|^arn:[^:]+:iam::.+", var.permissions_boundary_arn))
    error_message = "The value must match ^$|^arn:[^:]+:iam::.+."
  }
}

variable "other_accounts" {
  description = "IDs of other AWS accounts that own something the functions use, such as buckets in `source_buckets`, secrets, the KMS key or shared subnets. Calls on resources of any other account are denied. Empty for none."
  type        = list(string)
  default     = []
  nullable    = false
}
