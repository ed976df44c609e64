// A small site that signs people in by passport-openidconnect, which knows no PKCE.
import express from "express";
import session from "express-session";
import passport from "passport";
import OpenIDConnectStrategy from "passport-openidconnect";

const {LOGIN_URL, LOGIN_CLIENT_ID, LOGIN_CLIENT_SECRET, SITE_URL, SITE_SECRET, PORT} = process.env;
const described = await (await fetch(`${LOGIN_URL}/.well-known/openid-configuration`)).json();
const options = {
    issuer: described.issuer,
    authorizationURL: described.authorization_endpoint,
    tokenURL: described.token_endpoint,
    userInfoURL: described.userinfo_endpoint,
    clientID: LOGIN_CLIENT_ID,
    clientSecret: LOGIN_CLIENT_SECRET,
    callbackURL: `${SITE_URL}/callback`,
    scope: ["phone"],
    nonce: true,
};
const verify = (issuer, profile, idProfile, context, idToken, accessToken, refreshToken, parameters, done) =>
    done(null, {id: profile.id, number: profile._json.phone_number, idToken});
const show = (words) => `<!doctype html><link rel=icon href="data:,"><title>Site</title>${words}`;

passport.use(new OpenIDConnectStrategy(options, verify));
passport.serializeUser((user, done) => done(null, user));
passport.deserializeUser((user, done) => done(null, user));
express()
    .use(session({secret: SITE_SECRET, resave: false, saveUninitialized: false}))
    .use(passport.session())
    .get("/in", passport.authenticate("openidconnect"))
    .get("/callback", passport.authenticate("openidconnect", {successRedirect: "/", failureRedirect: "/"}))
    .post("/out", (request, response, next) => {
        const leave = new URLSearchParams({id_token_hint: request.user.idToken, post_logout_redirect_uri: `${SITE_URL}/`});
        request.logout((error) => error ? next(error) : response.redirect(303, `${described.end_session_endpoint}?${leave}`));
    })
    .get("/", (request, response) => {
        response.send(show(request.user
            ? `<p>You are ${request.user.number}, with the id ${request.user.id}.</p><form method=post action="/out"><button>Sign out</button></form>`
            : '<p>You are signed out.</p><a href="/in">Sign in</a>'));
    })
    .listen(PORT, "127.0.0.1");
