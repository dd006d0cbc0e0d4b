FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The image has its Node already; the one that the repository brings for older machines is a development dependency.
RUN npm ci --omit=dev --ignore-scripts

FROM node:24-slim
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY package.json LICENSE ./
COPY src src
# The command line's watch is the Node client library's.
COPY clients/node/package.json clients/node/package.json
COPY clients/node/src clients/node/src
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 7600 7680
# /data holds lingpai.yaml and, beside it, the store. The listeners have to be 0.0.0.0 there, or nothing outside reaches them:
# examples/docker.yaml. docs/operations.md has the command.
ENTRYPOINT ["node", "--disable-warning=ExperimentalWarning", "/app/src/lingpai.js"]
CMD ["serve", "--config", "/data/lingpai.yaml"]
