// A relying party by openid-client. It reads what to do from its input, one JSON object in a line, and answers with one line each.
import {createInterface} from "node:readline";
import * as openid from "openid-client";

const {issuer, id, secret, method, algorithm, callback, afterLogout} = JSON.parse(process.argv[2]);
const authentication = {
    none: () => openid.None(),
    client_secret_basic: () => openid.ClientSecretBasic(secret),
    client_secret_post: () => openid.ClientSecretPost(secret),
};
const client = {id_token_signed_response_alg: algorithm};
const execute = [openid.allowInsecureRequests, openid.enableNonRepudiationChecks];
const configuration = await openid.discovery(new URL(issuer), id, client, authentication[method](), {execute});

let begun;
const can = {
    async begin(parameters) {
        begun = {verifier: openid.randomPKCECodeVerifier(), state: openid.randomState(), nonce: openid.randomNonce()};
        return openid.buildAuthorizationUrl(configuration, {
            redirect_uri: callback,
            code_challenge: await openid.calculatePKCECodeChallenge(begun.verifier),
            code_challenge_method: "S256",
            state: begun.state,
            nonce: begun.nonce,
            ...parameters,
        });
    },
    async finish({at}) {
        const tokens = await openid.authorizationCodeGrant(configuration, new URL(at), {
            pkceCodeVerifier: begun.verifier,
            expectedState: begun.state,
            expectedNonce: begun.nonce,
            idTokenExpected: true,
        });
        return {...tokens, claims: tokens.claims()};
    },
    userinfo: ({access_token, sub}) => openid.fetchUserInfo(configuration, access_token, sub),
    async refresh({refresh_token}) {
        const tokens = await openid.refreshTokenGrant(configuration, refresh_token);
        return {...tokens, claims: tokens.claims()};
    },
    revoke: ({token}) => openid.tokenRevocation(configuration, token),
    logout({id_token}) {
        return openid.buildEndSessionUrl(configuration, {
            post_logout_redirect_uri: afterLogout, id_token_hint: id_token, state: "of the logout",
        });
    },
};

for await (const line of createInterface({input: process.stdin})) {
    const {verb, ...given} = JSON.parse(line);
    try {
        console.log(JSON.stringify({result: await can[verb](given) ?? null}));
    } catch (error) {
        const said = error.error ?? error.cause?.[0]?.parameters?.error ?? error.code ?? String(error);
        console.log(JSON.stringify({error: said, words: `${error} ${error.cause ?? ""}`}));
    }
}
