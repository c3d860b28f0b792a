"""Creates Simba's bucket, and the user whose keys are rotated, if they are missing; prints no secret."""

# ruff: noqa: INP001  # A standalone program.

import json
from pathlib import Path

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

FIRST = Path("/run/first")
BUCKET, USER = "simba", "simba"
ACTIONS = ["s3:ListBucket", "s3:GetBucketLocation", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
BUCKET_ARN = f"arn:aws:s3:::{BUCKET}"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ACTIONS, "Resource": [BUCKET_ARN, f"{BUCKET_ARN}/*"]}],
}

session = botocore.session.Session()
options = {
    "endpoint_url": "http://storage:8333",
    "region_name": "us-east-1",
    "aws_access_key_id": (FIRST / "storage-access-key").read_text(),
    "aws_secret_access_key": (FIRST / "storage-secret-key").read_text(),
    # A storage that has just started does not create buckets at first.
    "config": Config(retries={"max_attempts": 10, "mode": "standard"}, s3={"addressing_style": "path"}),
}
s3, iam = session.create_client("s3", **options), session.create_client("iam", **options)
if BUCKET not in (bucket["Name"] for bucket in s3.list_buckets()["Buckets"]):
    s3.create_bucket(Bucket=BUCKET)
try:
    iam.create_user(UserName=USER)
except ClientError as exc:
    if exc.response["Error"]["Code"] != "EntityAlreadyExists":
        raise
iam.put_user_policy(UserName=USER, PolicyName=BUCKET, PolicyDocument=json.dumps(POLICY))
