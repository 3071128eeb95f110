"""One letter by mail: smtplib in a thread, encrypted, with every refusal named for what it is."""

from __future__ import annotations

import smtplib
import socket
import ssl
from email.message import EmailMessage
from functools import partial

from anyio.to_thread import run_sync

from actors.alerting.channels import Channel, Refused, Undelivered
from actors.alerting.letters import Letter
from tds_runtime import logs

_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_REFUSALS = 500  # from this code on an answer is final


async def tell(channel: Channel, letter: Letter, number: str) -> None:
    """Hand the letter to the mail server; raises `Undelivered`, or `Refused` when it says no."""
    message = compose(channel, letter, number)
    refused = await run_sync(partial(send, channel, message), abandon_on_cancel=True)
    if refused:
        logs.get("alerts").warning("mail.refused_in_part", recipients=sorted(refused))


def compose(channel: Channel, letter: Letter, number: str) -> EmailMessage:
    """The letter as a message; a second attempt bears the same id, so that mailboxes can tell."""
    message = EmailMessage()
    message["From"] = channel.sender
    message["To"] = ", ".join(channel.to)
    message["Subject"] = " ".join(letter.subject.split())
    message["Message-ID"] = f"<{number}@{channel.sender.rpartition('@')[2].strip('>') or 'tds-runtime'}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    return message


def send(channel: Channel, message: EmailMessage) -> list[str]:
    """Send it, in whatever thread this is; returns the recipients that were refused while others were not."""
    try:
        with _connected(channel) as server:
            if channel.security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if channel.user:
                server.login(channel.user, channel.password)
            return list(server.send_message(message))
    except smtplib.SMTPAuthenticationError as error:
        raise Refused(
            f"authentication failed: {channel.host} does not take the password of {channel.user} ({_said(error)})"
        ) from error
    except smtplib.SMTPRecipientsRefused as error:
        raise Refused(f"{channel.host} takes no recipient: {', '.join(error.recipients)}") from error
    except smtplib.SMTPNotSupportedError as error:
        raise Refused(f"{channel.host}: {error}") from error
    except smtplib.SMTPResponseException as error:
        kind = Refused if error.smtp_code >= _REFUSALS else Undelivered
        raise kind(f"{channel.host} answered {_said(error)}") from error
    except ssl.SSLCertVerificationError as error:
        raise Undelivered(f"the certificate of {channel.host} is not valid: {error.verify_message}") from error
    except (ConnectionRefusedError, socket.gaierror) as error:
        raise Undelivered(f"{channel.host} cannot be reached: {error}") from error
    except (OSError, smtplib.SMTPException) as error:
        raise Undelivered(f"{channel.host}: {type(error).__name__} {error}".rstrip(), in_doubt=True) from error


def _connected(channel: Channel) -> smtplib.SMTP:
    port = channel.port or _PORTS[channel.security]
    if channel.security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(channel.host, port, timeout=float(channel.timeout), context=context)
    return smtplib.SMTP(channel.host, port, timeout=float(channel.timeout))


def _said(error: smtplib.SMTPResponseException) -> str:
    text = error.smtp_error
    words = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return f"{error.smtp_code} {words}"[:200]
