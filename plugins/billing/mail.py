"""Events as mail to operators, by an SMTP server of theirs.

One mail for each event and address. Its Message-ID is the event's id, so one that is delivered twice, as a crash may
cause, is shown once by most mail programs.
"""

import json
import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.plugin_api import BillingDriver, Delivery, DeliveryResult, OutboxMessage, WebhookEndpoint, hookimpl

SCHEME = "mailto:"
_ERROR_CHARACTERS_MAX = 500
_SUBJECT_CHARACTERS_MAX = 150
#: what a subject says of an event, the first that it has
_SUBJECT_FIELDS = ("node", "name", "target", "by")


class MailOptions(BaseModel):
    """`security`: `starttls` (port 587), `tls` from the first byte (port 465), or `none` for a relay on this machine.

    With a `username` the password is the first line of `password_file`, which only root should read. `sender` is the
    mails' From. `timeout_seconds`: for each answer of the server.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    host: str = Field(min_length=1)
    port: int = Field(587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password_file: Path | None = None
    sender: str = Field(pattern=r"^[^@\s<>]+@[^@\s<>]+$")
    timeout_seconds: float = Field(10.0, gt=0, le=30)


class MailDelivery:
    """Delivers one message at a time, on a connection of its own; several threads may do so at once."""

    def __init__(self, options: MailOptions) -> None:
        self._options = options
        # The distribution's certificates, to which an operator can add his own.
        self._tls = ssl.create_default_context()

    def deliver(self, message: OutboxMessage, endpoint: WebhookEndpoint, at_unix: int) -> DeliveryResult:
        """One try. A refusal of the server is told in its own words; the outbox decides when to try again."""
        try:
            mail = _mail(message, endpoint.url.removeprefix(SCHEME), self._options.sender, at_unix)
            with self._connected() as server:
                server.send_message(mail)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return DeliveryResult(False, _said(error)[:_ERROR_CHARACTERS_MAX])
        return DeliveryResult(True)

    def _connected(self) -> smtplib.SMTP:
        o = self._options
        if o.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(o.host, o.port, timeout=o.timeout_seconds, context=self._tls)
        else:
            server = smtplib.SMTP(o.host, o.port, timeout=o.timeout_seconds)
        try:
            if o.security == "starttls":
                server.starttls(context=self._tls)
            if o.username:
                server.login(o.username, _password(o.password_file))
        except BaseException:
            server.close()
            raise
        return server


def _password(file: Path | None) -> str:
    if file is None:
        raise ValueError("a username is configured and no password_file")
    return file.read_text(encoding="utf-8").partition("\n")[0].strip()


def _mail(message: OutboxMessage, address: str, sender: str, at_unix: int) -> EmailMessage:
    """What people read first, what programs read below."""
    event = json.loads(message.body)
    data: dict[str, object] = event["data"]
    about = next((str(data[name]) for name in _SUBJECT_FIELDS if data.get(name)), "")
    subject = f"[holdfast] {message.kind}" + (f": {about}" if about else "")
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"] = sender, address
    # A header is one line, whatever a device or a customer has written.
    mail["Subject"] = " ".join(subject.split())[:_SUBJECT_CHARACTERS_MAX]
    mail["Date"] = format_datetime(datetime.fromtimestamp(at_unix, UTC))
    mail["Message-ID"] = f"<{message.webhook_id}@{sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    lines = [message.kind, f"at {event['timestamp']}", "", *(f"{name}: {value}" for name, value in data.items())]
    mail.set_content("\n".join(lines) + f"\n\n-- \n{message.body}\n")
    return mail


def _said(error: Exception) -> str:
    """In the server's own words where it had some."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        refused = error.recipients.items()
        return "; ".join(f"{who}: {code} {text.decode(errors='replace')}" for who, (code, text) in refused)
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        return f"{error.smtp_code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"
    return f"{type(error).__name__}: {error}"


def _open(options: MailOptions) -> Delivery:
    return MailDelivery(options)


@hookimpl
def holdfast_billing_driver() -> BillingDriver:
    """Offer `mail`."""
    return BillingDriver("mail", MailOptions, _open)
