"""The official Python SDK's own OAuth helper against the sandbox's pages: `Auth` of ctrader-open-api, on `requests`.

It counts as unmodified: the two addresses are parameters of its methods. The test plays the browser in between: it gets the address of
the consent page from this program, and gives it the code from the redirect.
"""

from ctrader_open_api import Auth
from steps import facts, report, report_installed


def main():
    report_installed("ctrader-open-api")
    given = facts()
    auth = Auth(given["client_id"], given["client_secret"], given["redirect_uri"])
    report("consent", url=auth.getAuthUri(baseUri=given["auth_url"]))
    code = facts()["code"]
    first = auth.getToken(code, baseUri=given["token_url"])
    report("exchange", answer=first)
    report("exchange_again", answer=auth.getToken(code, baseUri=given["token_url"]))
    report("refresh", answer=auth.refreshToken(first["refreshToken"], baseUri=given["token_url"]))
    report("refresh_again", answer=auth.refreshToken(first["refreshToken"], baseUri=given["token_url"]))


main()
