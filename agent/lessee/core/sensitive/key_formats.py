"""The well-known formats of keys and tokens: what a provider's keys begin with, and how long they are.

Sources: the providers' documentation of their prefixes. A format without a prefix of its own is not here, because any
random text would have it.
"""

import re
from collections.abc import Iterator

from lessee.core.immutable import ImmutableStruct


class KeyFormat(ImmutableStruct, frozen=True):
    """A format. `marks`: one of these is in each key. `for_visitors`: web pages have such keys on purpose."""

    name: str
    marks: tuple[str, ...]
    pattern: "re.Pattern[str]"
    for_visitors: bool = False


def find_keys(text: str) -> Iterator[tuple[KeyFormat, int, int]]:
    """The keys in a text: their formats, and where they begin and end. Searching for a fixed mark first is fast."""
    for form in FORMATS:
        if any(mark in text for mark in form.marks):
            yield from ((form, found.start(), found.end()) for found in form.pattern.finditer(text))


def _format(name: str, pattern: str, *marks: str, for_visitors: bool = False) -> KeyFormat:
    return KeyFormat(name, marks, re.compile(pattern, re.ASCII), for_visitors)


_HEX = "[0-9a-fA-F]"
_WORD = "[A-Za-z0-9_-]"
_ALNUM = "[A-Za-z0-9]"

FORMATS: tuple[KeyFormat, ...] = (
    _format("an API key (sk-…)", rf"\bsk-(?:[a-z0-9]+-)*{_WORD}{{20,}}", "sk-"),
    _format(
        "an AWS access key (AKIA…)",
        r"\b(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z0-9]{16}\b",
        *("AKIA", "ASIA", "ABIA", "ACCA", "A3T"),
    ),
    _format(
        "a GitHub token (ghp_…)",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{36,})",
        *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    ),
    _format(
        "a GitLab token (glpat-…)",
        r"\b(?:gl(?:pat|dt|ft|rt|ptt|oas|soat|imt|ffct|agent|cbt)-[0-9A-Za-z_.-]{20,}|GR1348941[0-9A-Za-z_-]{20})",
        *("glpat-", "gldt-", "glft-", "glrt-", "glptt-", "gloas-", "glsoat-", "glimt-", "glffct-", "glagent-"),
        *("glcbt-", "GR1348941"),
    ),
    _format(
        "a Slack token (xox…)",
        r"\b(?:xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{20,})",
        *("xox", "xapp-"),
    ),
    _format(
        "a webhook's URL (hooks.slack.com/…)",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{40,60}"
        r"|discord(?:app)?\.com/api/webhooks/\d{17,20}/[A-Za-z0-9_-]{60,}"
        r"|[a-z0-9]+\.webhook\.office\.com/webhookb2/[0-9a-z@-]{36,}/IncomingWebhook/[0-9a-z]{32}/[0-9a-z-]{36}",
        *("hooks.slack.com", "/api/webhooks/", "webhook.office.com"),
    ),
    _format("a Hugging Face token (hf_…)", r"\b(?:hf|api_org)_[A-Za-z0-9]{30,}", "hf_", "api_org_"),
    _format(
        "a Vault token (hvs.…)",
        r"\b(?:hv[sbr]\.[A-Za-z0-9_-]{24,}|b\.AAAAAQ[\w-]{80,})",
        "hvs.",
        "hvb.",
        "hvr.",
        "b.AAAAAQ",
    ),
    _format("a private key", r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----", "PRIVATE KEY"),
    _format("a private key (AGE-SECRET-KEY-…)", r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}\b", "AGE-SECRET-KEY-1"),
    _format(
        "a Stripe key (sk_live_…)", r"\b(?:(?:sk|rk)_(?:test|live|prod)|whsec)_[A-Za-z0-9]{10,}", "sk_", "rk_", "whsec_"
    ),
    _format("an Amazon Bedrock key (ABSK…)", r"\bABSK[A-Za-z0-9+/]{100,270}={0,2}", "ABSK"),
    _format("a Google API key (AIza…)", r"\bAIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])", "AIza", for_visitors=True),
    _format("a Google token (ya29.…)", r"\b(?:GOCSPX-[\w-]{28}|ya29\.[\w-]{20,})", "GOCSPX-", "ya29."),
    _format("an npm token (npm_…)", r"\bnpm_[A-Za-z0-9]{36}\b", "npm_"),
    _format("a PyPI token (pypi-…)", rf"\bpypi-{_WORD}{{50,}}", "pypi-"),
    _format("a RubyGems token (rubygems_…)", rf"\brubygems_{_HEX}{{48}}\b", "rubygems_"),
    _format("a NuGet key (oy2…)", r"\boy2[a-z0-9]{43}\b", "oy2"),
    _format("a Clojars token (CLOJARS_…)", r"(?i)\bCLOJARS_[a-z0-9]{60}\b", "CLOJARS_", "clojars_"),
    _format("a Docker Hub token (dckr_pat_…)", rf"\bdckr_(?:pat|oat)_{_WORD}{{20,}}", "dckr_"),
    _format("a SendGrid key (SG.…)", r"\bSG\.[A-Za-z0-9_.=-]{20,}", "SG."),
    _format("a Sendinblue key (xkeysib-…)", r"\bxkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}\b", "xkeysib-"),
    _format("a Mailchimp key (…-us1)", r"\b[0-9a-f]{32}-us\d{1,2}\b", "-us"),
    _format("a Mailgun key (key-…)", r"\b(?:key|pubkey)-[0-9a-f]{32}\b", "key-"),
    _format("a Twilio key (SK…)", r"\b(?:SK|AC)[0-9a-f]{32}\b", "SK", "AC"),
    _format("a Telegram token (…:A…)", r"(?<![\w:])\d{8,10}:A[\w-]{34}(?![\w-])", ":A"),
    _format("a Discord token", r"\b[MNO][A-Za-z\d_-]{23,25}\.[\w-]{6}\.[\w-]{27,38}(?![\w-])", "M", "N", "O"),
    _format(
        "a JSON Web Token (eyJ…)",
        r"\bey[A-Za-z0-9_=-]{15,}\.ey[A-Za-z0-9_/\\=-]{15,}(?:\.[A-Za-z0-9_/\\=-]{10,})?",
        "ey",
        for_visitors=True,
    ),
    _format("a Shopify token (shpat_…)", rf"\bshp(?:at|ca|pa|ss)_{_HEX}{{32}}\b", "shp"),
    _format("a DigitalOcean token (dop_v1_…)", r"\bdo[opr]_v1_[a-f0-9]{64}\b", "_v1_"),
    _format("a Doppler token (dp.pt.…)", r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{40,}", "dp."),
    _format("a Linear key (lin_api_…)", r"\blin_(?:api|oauth)_[A-Za-z0-9]{32,}", "lin_"),
    _format(
        "a Notion token (ntn_…)", r"\bntn_[0-9]{11}[A-Za-z0-9]{35}\b|\bsecret_[A-Za-z0-9]{43}\b", "ntn_", "secret_"
    ),
    _format("a Postman key (PMAK-…)", r"\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}\b", "PMAK-"),
    _format("a Databricks token (dapi…)", r"\bdapi[0-9a-f]{32}(?:-\d)?\b", "dapi"),
    _format(
        "a Grafana token (glsa_…)",
        r"\b(?:glc_[A-Za-z0-9+/]{32,}={0,3}|glsa_[A-Za-z0-9]{32}_[0-9a-fA-F]{8})",
        "glc_",
        "glsa_",
    ),
    _format("a Grafana key (eyJrIjoi…)", r"\beyJrIjoi[A-Za-z0-9]{60,}={0,2}", "eyJrIjoi"),
    _format("a Heroku key (HRKU-…)", r"\bHRKU-AA[0-9A-Za-z_-]{58}\b", "HRKU-"),
    _format(
        "a Fly.io token (fo1_…)", r"\b(?:fo1_[\w-]{43}|fm[12][ar]?_[A-Za-z0-9+/]{100,}={0,3})", "fo1_", "fm1", "fm2"
    ),
    _format("a PlanetScale token (pscale_…)", r"\bpscale_(?:tkn|oauth|pw)_[\w=.-]{32,64}", "pscale_"),
    _format("a Prefect key (pnu_…)", r"\bpnu_[a-zA-Z0-9]{36}\b", "pnu_"),
    _format("a Pulumi token (pul-…)", r"\bpul-[0-9a-f]{40}\b", "pul-"),
    _format("a Sentry token (sntrys_…)", r"\b(?:sntryu_[0-9a-f]{64}|sntrys_eyJ[A-Za-z0-9+/=_]{60,})", "sntry"),
    _format(
        "a Sourcegraph token (sgp_…)",
        r"\bsgp_(?:[0-9a-fA-F]{16}_|local_)?[0-9a-fA-F]{40}\b|\bslk_[0-9a-f]{64}\b",
        "sgp_",
        "slk_",
    ),
    _format("a Square token (sq0…)", r"\b(?:sq0(?:atp|csp|idp)-[\w-]{22,43}|EAAA[\w-]{56,60})(?![\w-])", "sq0", "EAAA"),
    _format("a Facebook token (EAA…)", r"\bEAA[MC][A-Za-z0-9]{100,}", "EAAM", "EAAC"),
    _format("a Flutterwave key (FLWSECK…)", r"\bFLW(?:SECK|PUBK)(?:_TEST)?-[0-9a-hA-H]{12,32}(?:-X)?", "FLW"),
    _format("a Duffel token (duffel_…)", r"\bduffel_(?:test|live)_[\w=-]{43}", "duffel_"),
    _format("an EasyPost key (EZAK…)", r"\bEZ[AT]K[A-Za-z0-9]{54}\b", "EZAK", "EZTK"),
    _format("a Dynatrace token (dt0c01.…)", r"\bdt0[a-z]\d\d\.[A-Z0-9a-z]{24}\.[A-Z0-9a-z]{64}\b", "dt0"),
    _format("an Adafruit key (aio_…)", r"\baio_[A-Za-z0-9]{28}\b", "aio_"),
    _format("an Adobe secret (p8e-…)", r"\bp8e-[a-zA-Z0-9]{32}\b", "p8e-"),
    _format("an Airtable token (pat….)", r"\bpat[A-Za-z0-9]{14}\.[a-f0-9]{64}\b", "pat"),
    _format("an Alibaba key (LTAI…)", r"\bLTAI[A-Za-z0-9]{17,21}\b", "LTAI"),
    _format(
        "an Artifactory key (AKC…)",
        r"\b(?:AKCp[A-Za-z0-9]{69}|AKC[A-Za-z0-9]{10,}|cmVmdGtu[A-Za-z0-9]{56})\b",
        "AKC",
        "cmVmdGtu",
    ),
    _format("an Atlassian token (ATATT3…)", r"\bAT(?:ATT|CTT|BB)3?[A-Za-z0-9_=-]{24,}", "ATATT", "ATCTT", "ATBB"),
    _format(
        "an Azure client secret (…Q~…)", r"(?<![\w~.-])[a-zA-Z0-9_~.]{3}\dQ~[a-zA-Z0-9_~.-]{31,34}(?![\w~.-])", "Q~"
    ),
    _format("an Azure account key (AccountKey=…)", r"\bAccountKey=[A-Za-z0-9+/=]{80,90}", "AccountKey="),
    _format("a Cloudflare key (v1.0-…)", r"\bv1\.0-[a-f0-9]{24}-[a-f0-9]{146}\b", "v1.0-"),
    _format("a Dropbox token (sl.…)", r"\bsl\.[A-Za-z0-9_=-]{130,}", "sl."),
    _format("a 1Password token (ops_…)", r"\bops_eyJ[a-zA-Z0-9+/]{200,}={0,3}", "ops_eyJ"),
    _format(
        "a 1Password secret key (A3-…)",
        r"\bA3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}\b",
        "A3-",
    ),
    _format("a Frame.io token (fio-u-…)", r"\bfio-u-[\w=-]{64}", "fio-u-"),
    _format(
        "a Harness token (pat.…)",
        r"\b(?:pat|sat)\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}\b",
        "pat.",
        "sat.",
    ),
    _format("an Infracost key (ico-…)", r"\bico-[A-Za-z0-9]{32}\b", "ico-"),
    _format("an Intra42 secret (s-s4t2…)", r"\bs-s4t2(?:ud|af)-[a-f0-9]{64}\b", "s-s4t2"),
    _format("a Lob key (live_…)", r"\b(?:live|test)(?:_pub)?_[a-f0-9]{31,35}\b", "live_", "test_"),
    _format(
        "a Looker or Mapbox token (pk.eyJ…)", r"\bpk\.[a-zA-Z0-9]{60}\.[a-zA-Z0-9]{22}\b", "pk.", for_visitors=True
    ),
    _format("a MaxMind key (…_mmk)", r"\b[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk\b", "_mmk"),
    _format("a New Relic key (NRAK-…)", r"\bNR(?:AK|II)-[A-Za-z0-9-]{27,32}\b", "NRAK-", "NRII-"),
    _format("a New Relic browser key (NRJS-…)", r"\bNRJS-[a-f0-9]{19}\b", "NRJS-", for_visitors=True),
    _format("an Octopus Deploy key (API-…)", r"\bAPI-[A-Z0-9]{26}\b", "API-"),
    _format("an OpenShift token (sha256~…)", r"\bsha256~[\w-]{43}(?![\w-])", "sha256~"),
    _format("a Perplexity key (pplx-…)", r"\bpplx-[A-Za-z0-9]{48}\b", "pplx-"),
    _format("a ReadMe key (rdme_…)", r"\brdme_[a-z0-9]{70}\b", "rdme_"),
    _format("a Scalingo token (tk-us-…)", r"\btk-us-[\w-]{48}(?![\w-])", "tk-us-"),
    _format(
        "a SettleMint token (sm_pat_…)", r"\bsm_(?:pat|aat|sat)_[A-Za-z0-9]{16}\b", "sm_pat_", "sm_aat_", "sm_sat_"
    ),
    _format("a Shippo token (shippo_…)", r"\bshippo_(?:live|test)_[a-f0-9]{40}\b", "shippo_"),
    _format("a Sonar token (sqp_…)", r"\bsq[apu]_[A-Za-z0-9=_-]{40}(?![\w-])", "sqp_", "sqa_", "squ_"),
    _format("a Supabase key (sbp_…)", r"\b(?:sbp_[a-f0-9]{40}|sb_secret_[\w-]{20,})", "sbp_", "sb_secret_"),
    _format("a Terraform token (….atlasv1.…)", r"\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9=_-]{60,70}", ".atlasv1."),
    _format("a Typeform token (tfp_…)", r"\btfp_[A-Za-z0-9_.=-]{59}", "tfp_"),
    _format(
        "a Yandex key (AQVN…)",
        r"\b(?:AQVN[\w-]{35,38}|YC[\w-]{38}|t1\.[A-Z0-9a-z_-]+={0,2}\.[\w-]{86}={0,2})(?![\w-])",
        "AQVN",
        "YC",
        "t1.",
    ),
    _format("a LangSmith key (lsv2_…)", r"\blsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}\b", "lsv2_"),
    _format("a Groq key (gsk_…)", r"\bgsk_[A-Za-z0-9]{52}\b", "gsk_"),
    _format("an xAI key (xai-…)", r"\bxai-[A-Za-z0-9]{80}\b", "xai-"),
    _format("a Replicate token (r8_…)", r"\br8_[A-Za-z0-9]{37}\b", "r8_"),
    _format("a Tavily key (tvly-…)", r"\btvly-[A-Za-z0-9-]{28,}", "tvly-"),
    _format("a Netlify token (nfp_…)", r"\bnfp_[A-Za-z0-9]{36}\b", "nfp_"),
    _format("a Resend key (re_…)", r"\bre_[A-Za-z0-9]{8}_[A-Za-z0-9]{24}\b", "re_"),
    _format("a Contentful token (CFPAT-…)", r"\bCFPAT-[\w-]{43}(?![\w-])", "CFPAT-"),
    _format("a ClickHouse Cloud key (4b1d…)", r"\b4b1d[A-Za-z0-9]{38}\b", "4b1d"),
    _format("a Defined Networking key (dnkey-…)", r"\bdnkey-[a-z0-9=_-]{26}-[a-z0-9=_-]{52}", "dnkey-"),
    _format("a Brave key (BSA…)", r"\bBSA[A-Za-z0-9_-]{28}(?![\w-])", "BSA"),
    _format("a KuCoin or RapidAPI key (…msh…jsn…)", r"\b[a-z0-9]{10}msh[a-z0-9]{15}jsn[a-z0-9]{12}\b", "msh"),
)
"""All formats, in no order."""
