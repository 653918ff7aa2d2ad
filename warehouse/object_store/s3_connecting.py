"""Connects to a bucket on S3: credentials, region, certificates and time limits, for boto3 and for obstore alike."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse import aws
from warehouse.errors import SourceDownError, SourceError, UsageError
from warehouse.object_store.s3_redirects import confine
from warehouse.settings import Settings

if TYPE_CHECKING:
    from obstore.store import S3Store

#: The most threads that list a bucket. More save little time: taking a page apart takes a thread's turn.
MOST_LISTERS = 16
#: The process that has started obstore's threads, which do not outlive a fork.
_read_in: dict[str, int] = {}


def connect(source: str, name: str, below: str, settings: Settings) -> tuple[Any, S3Store | None]:
    """Connect to the bucket `name` by boto3 and by obstore, and list its first key below a prefix.

    There is no store of obstore where it could be led to another server (s3_redirects.py).
    SourceError if there are no credentials, or if the bucket is not accessible; UsageError in a forked process.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    _refuse_fork(source)
    try:
        session = aws.create_session()
        region = session.region_name or "us-east-1"
        config = Config(max_pool_connections=MOST_LISTERS, signature_version="s3v4", **aws.client_timeouts(settings))
        bundle = aws.find_ca_bundle(session)
        if aws.find_credentials(session, source) is None:
            raise SourceError(
                f"{source}: no AWS credentials were found. Set AWS_PROFILE or AWS_ACCESS_KEY_ID, or log in."
            )
        client = session.client("s3", region_name=region, config=config)
        region = _find_region(client, source, name, below) or region
        url = aws.find_endpoint(session, client)
        listing = {"Bucket": name, "Prefix": below, "MaxKeys": 1}
        signed = client.generate_presigned_url("list_objects_v2", listing) if url else ""
    except (BotoCoreError, ValueError) as error:
        raise SourceError(f"{source}: {aws.to_one_line(error)} Check the AWS settings.") from None
    confined = confine(url, signed, settings.request_seconds)
    return client, None if confined is None else _open_store(session, name, region, url, bundle, confined, settings)


def _open_store(
    session: Any, name: str, region: str, url: str, bundle: str, confined: dict[str, str], settings: Settings
) -> S3Store:
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import S3Store

    seconds = settings.request_seconds
    where: dict[str, Any] = {"endpoint": url, "virtual_hosted_style_request": False} if url else {}
    options = {
        "allow_http": url.startswith("http://"),
        "pool_max_idle_per_host": str(settings.fetch_threads),
        "connect_timeout": timedelta(seconds=min(5.0, seconds)),
        "read_timeout": timedelta(seconds=seconds),
        **_certificate_options(bundle),
        **confined,
    }
    return S3Store(
        name,
        region=region,
        credential_provider=Boto3CredentialProvider(session),
        client_options=options,  # type: ignore[arg-type]  # its stubs lack the certificates
        # Long enough for brief throttling to pass, short enough that a user does not think it hangs.
        retry_config={
            "max_retries": 10,
            "backoff": {"max_backoff": timedelta(seconds=5)},
            "retry_timeout": timedelta(seconds=2 * seconds),
        },
        **where,
    )


def _certificate_options(bundle: str) -> dict[str, Any]:
    """obstore's options for a certificate bundle that replaces the system's certificates, as for boto3."""
    return {"root_certificate": Path(bundle).read_bytes(), "disable_system_certificates": True} if bundle else {}


def _refuse_fork(source: str) -> None:
    """Raise UsageError in a process that was forked from one that has read S3: obstore would wait forever there."""
    process = os.getpid()
    if _read_in.setdefault("process", process) != process:
        raise UsageError(
            f"{source} cannot be read in a forked process, because the process that started it has read S3. Start "
            "workers by spawn:  DataLoader(…, multiprocessing_context='spawn')"
        )


def _find_region(client: Any, source: str, name: str, below: str) -> str:
    """The region of the bucket, which may differ from the profile's; SourceError if it is not accessible."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        answer = client.list_objects_v2(Bucket=name, Prefix=below, MaxKeys=1)
    except ClientError as error:
        raise aws.to_source_error(source, error) from None
    except BotoCoreError as error:
        raise aws.to_connection_error(source, error) from None
    except (ResponseParserError, ValueError, KeyError):  # neither of boto3's other errors
        raise to_listing_error(source) from None
    except RecursionError:  # boto3 looks for a region in each redirection
        raise SourceError(f"{source}: the server redirects every request. Check AWS_ENDPOINT_URL.") from None
    return str(answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", ""))


def to_listing_error(source: str) -> SourceDownError:
    """The error for an answer that is not a complete listing."""
    return SourceDownError(
        f"{source}: the answer was not a listing, or was incomplete. Nothing was changed. Check for a proxy "
        "or a login page in between, and run it again."
    )
