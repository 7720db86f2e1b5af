"""What Jira sends: its worklog webhooks, in Jira Cloud's shape. Shared by demo and tests."""
import datetime
import json

from tests.harness import sign


def stamp(when: datetime.datetime) -> str:
    """A time as Jira writes one: 2026-11-16T09:00:00.000+0100."""
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03}" + \
        when.strftime("%z")


def millis(when: datetime.datetime) -> int:
    return int(when.timestamp()) * 1000 + when.microsecond // 1000


def user(account: str) -> dict:
    return {"self": f"https://acme.example/rest/api/2/user?accountId={account}",
            "accountId": account, "displayName": account, "active": True,
            "timeZone": "Europe/Berlin", "accountType": "atlassian"}


def worklog(event, log_id, issue, account, started, seconds, updated, sent=None, **more) -> dict:
    """event: created, updated or deleted. sent: when Jira made the event, later than the change when it
    lagged, and always for a deletion."""
    hours, rest = divmod(seconds, 3600)
    return {"timestamp": millis(sent or updated), "webhookEvent": f"worklog_{event}", "worklog": {
        "self": f"https://acme.example/rest/api/2/issue/{issue}/worklog/{log_id}",
        "author": user(account), "updateAuthor": user(account), "comment": "",
        "created": stamp(updated), "updated": stamp(updated), "started": stamp(started),
        "timeSpent": f"{hours}h {rest // 60}m", "timeSpentSeconds": seconds, "id": log_id,
        "issueId": issue, **more}}


def post(client, path, secret, event, identifier=None, body=None):
    """One delivery through an httpx client."""
    body = json.dumps(event).encode() if body is None else body
    headers = {"Content-Type": "application/json; charset=UTF-8",
               "User-Agent": "Atlassian Webhook HTTP Client", "X-Atlassian-Webhook-Flow": "Primary"}
    if identifier:
        headers["X-Atlassian-Webhook-Identifier"] = identifier
    return client.post(path, content=body, headers=headers | sign.hub_headers(secret, body))
